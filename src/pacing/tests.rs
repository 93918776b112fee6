//! temp
use super::endpoint::Scene;

#[test]
fn figures() {
    let show = |name: &str, scene: &dyn Fn(u64) -> Scene| {
        for seed in 1..=4 {
            let r = scene(seed).play();
            let n = r.windows[0].len();
            println!("{name:28} seed {seed} used {:.4} throttled {:.4} requests/s {:.0} early {} settled {:?} budgets {:.1?}",
                r.least_used(10..n-1), r.most_throttled(10..n-1), r.requests as f64 / n as f64, r.early, r.settled_after(0, 0.97), &r.budgets[..1]);
        }
    };
    show("8x10000", &|s| Scene::even(8, 10_000.0, s));
    show("8x10000 known", &|s| Scene { known: true, ..Scene::even(8, 10_000.0, s) });
    show("1x400", &|s| Scene::even(1, 400.0, s));
    show("1x400 known", &|s| Scene { known: true, ..Scene::even(1, 400.0, s) });
    show("4x4000", &|s| Scene::even(4, 4_000.0, s));
    show("8x10000 150ms", &|s| Scene { latency: 0.15, jitter: 0.01, ..Scene::even(8, 10_000.0, s) });
    show("8x10000 40ms", &|s| Scene { latency: 0.04, jitter: 0.005, ..Scene::even(8, 10_000.0, s) });
    show("4x400 150ms", &|s| Scene { latency: 0.15, jitter: 0.01, ..Scene::even(4, 400.0, s) });
    show("1x400 700RU docs known", &|s| Scene { known: true, cost: (700.0, 0.3), ..Scene::even(1, 400.0, s) });
    show("8x10000 dear", &|s| Scene { dear: 0.02, ..Scene::even(8, 10_000.0, s) });
    show("4x400 dear", &|s| Scene { dear: 0.02, ..Scene::even(4, 400.0, s) });
    show("4x4000 continuous", &|s| Scene { continuous: true, ..Scene::even(4, 4000.0, s) });
    show("1x400 700RU docs", &|s| Scene { cost: (700.0, 0.3), ..Scene::even(1, 400.0, s) });
    for (n, b) in [(8, 10_000.0), (4, 4000.0), (1, 400.0)] {
        for seed in 1..=4 {
            let r = Scene { steps: vec![(30.0, 0.5)], ..Scene::even(n, b, seed) }.play();
            let u = Scene { steps: vec![(30.0, 2.0)], ..Scene::even(n, b, seed) }.play();
            let w = &r.windows[0][28..38];
            println!("   {}", w.iter().map(|w| format!("{:.2}/{}", w.units / w.budget, w.throttled)).collect::<Vec<_>>().join(" "));
            println!("{n}x{b} halved: {:?}  doubled: {:?} after: {:.4}", r.settled_after(30, 0.9), u.settled_after(30, 0.9), u.least_used(55..69));
        }
    }
    for cap in [40_000.0, 4000.0] {
      for seed in 1..=3 {
        let r = Scene { cap: Some(cap), ..Scene::even(8, 10_000.0, seed) }.play();
        println!("cap {cap}: most {:.4} mean {:.4} throttled {:.4}", r.most_in_ten_seconds() / cap / 10.0, r.hundredths[1000..6900].iter().sum::<f64>() / cap / 59.0, r.most_throttled(10..69));
      }
    }
}
