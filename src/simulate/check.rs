//! What can be played: figures that mean something, before a run of millions of events stumbles over one that does not.

use super::plant::{Plant, Step};

/// Longer runs, and more tuners, take hours to play.
const MOST_SECONDS: u32 = 86_400;
const MOST_TUNERS: u32 = 16;

/// Says what about a plant cannot be played.
pub(super) fn check(plant: &Plant) -> Result<(), String> {
    if plant.name.trim().is_empty() {
        return Err("name is empty".to_owned());
    }
    figures(plant)?;
    shares(&plant.target.shares)?;
    if plant.documents.tail.is_some_and(|tail| !(tail > 1.0 && tail.is_finite())) {
        return Err("documents.tail must be above 1, or sizes have no average".to_owned());
    }
    if plant.machine.base_memory >= plant.machine.memory {
        return Err("machine.base_memory must be less than machine.memory".to_owned());
    }
    if plant.gpu.as_ref().is_some_and(|gpu| gpu.model_memory >= gpu.memory) {
        return Err("gpu.model_memory must be less than gpu.memory".to_owned());
    }
    if plant.seconds > MOST_SECONDS || plant.tuners > MOST_TUNERS {
        return Err(format!("seconds may be {MOST_SECONDS} and tuners {MOST_TUNERS} at most"));
    }
    if plant.seconds < plant.counted_from.saturating_add(20) {
        return Err("seconds must be at least 20 more than counted_from".to_owned());
    }
    if !plant.steps.is_sorted_by(|one, other| one.at < other.at) {
        return Err("steps must stand in order of time".to_owned());
    }
    plant.steps.iter().try_for_each(step)
}

fn figures(plant: &Plant) -> Result<(), String> {
    let Plant { documents, source, transform, machine, gpu, target, .. } = plant;
    let positive = [
        ("documents.bytes", documents.bytes),
        ("transform.engines", transform.engines),
        ("machine.cores", machine.cores),
        ("machine.memory", machine.memory),
        ("target.latency", target.latency),
        ("target.request_documents", f64::from(target.request_documents)),
        ("target.document_request_units", target.document_request_units),
        ("tuners", f64::from(plant.tuners)),
    ];
    positive.into_iter().try_for_each(|(name, figure)| least(name, figure, true))?;
    let others = [
        ("source.batch_seconds", source.batch_seconds),
        ("source.document_seconds", source.document_seconds),
        ("source.most_per_second", source.most_per_second),
        ("transform.batch_seconds", transform.batch_seconds),
        ("transform.document_seconds", transform.document_seconds),
        ("transform.contention", transform.contention),
        ("transform.coherence", transform.coherence),
        ("transform.document_memory", transform.document_memory),
        ("machine.base_memory", machine.base_memory),
        ("target.variation", target.variation),
        ("target.capacity", target.capacity),
        ("target.contention", target.contention),
        ("target.coherence", target.coherence),
        ("target.request_units", target.request_units),
    ];
    others.into_iter().try_for_each(|(name, figure)| least(name, figure, false))?;
    let Some(gpu) = gpu else { return Ok(()) };
    least("gpu.memory", gpu.memory, true)?;
    least("gpu.model_memory", gpu.model_memory, false)?;
    least("gpu.document_memory", gpu.document_memory, false)
}

fn shares(shares: &[f64]) -> Result<(), String> {
    shares.iter().try_for_each(|share| least("a share of the target", *share, false))?;
    let sum: f64 = shares.iter().sum();
    if shares.is_empty() || (sum - 1.0).abs() > 0.01 {
        return Err(format!("the {} shares add up to {}, not to 1", shares.len(), sum.abs()));
    }
    Ok(())
}

fn step(step: &Step) -> Result<(), String> {
    let about = |name: &str| format!("{name} of the step at {} s", step.at);
    least("at of a step", step.at, false)?;
    least(&about("capacity"), step.capacity, false)?;
    least(&about("latency"), step.latency, true)?;
    least(&about("failing"), step.failing, false)?;
    least(&about("more_memory"), step.more_memory, false)?;
    least(&about("more_gpu_memory"), step.more_gpu_memory, false)?;
    least(&about("over"), step.over, false)?;
    if step.failing > 1.0 {
        return Err(format!("{} is {}, and must be 1 at most", about("failing"), step.failing));
    }
    Ok(())
}

fn least(name: &str, figure: f64, is_above: bool) -> Result<(), String> {
    let wanted = if is_above { "above 0" } else { "0 or more" };
    let is_sound = figure.is_finite() && (figure > 0.0 || (!is_above && figure == 0.0));
    if is_sound { Ok(()) } else { Err(format!("{name} is {figure}, and must be {wanted}")) }
}
