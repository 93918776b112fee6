//! The figures that pacing is held to, against the endpoint of [`endpoint`](super::endpoint): budget used, operations throttled, time to follow a change.
//!
//! Each test prints what it measured (`cargo test pacing -- --nocapture`). "From second 10 on" leaves out the beginning, in which unknown budgets are found;
//! figures are those of the worst partition.

use super::endpoint::{Partition, Report, Scene};
use super::*;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// Plays a scene with several seeds and prints the figures of its steady state.
fn play(name: &str, scene: impl Fn(u64) -> Scene) -> impl Iterator<Item = Report> {
    SEEDS.map(move |seed| {
        let report = scene(seed).play();
        let (used, throttled) = steady(&report);
        println!("{name}, seed {seed}: {:.2} % used, {:.2} % throttled", used * 100.0, throttled * 100.0);
        assert_eq!(report.early, 0, "nothing is sent before the time that was told");
        report
    })
}

/// The least budget used and the most operations throttled from second 10 on.
fn steady(report: &Report) -> (f64, f64) {
    let windows = 10..report.windows[0].len() - 1;
    (report.least_used(windows.clone()), report.most_throttled(windows))
}

/// The goal: 98.5 % used, 0.5 % throttled.
fn assert_steady(name: &str, scene: impl Fn(u64) -> Scene) {
    for report in play(name, scene) {
        let (used, throttled) = steady(&report);
        assert!(used >= 0.985 && throttled <= 0.005, "{name}: {used} used, {throttled} throttled");
    }
}

#[test]
fn eight_large_partitions_are_used_up_with_little_throttling() {
    assert_steady("8 x 10 000", |seed| Scene::even(8, 10_000.0, seed));
    assert_steady("8 x 10 000, known", |seed| Scene { known: true, ..Scene::even(8, 10_000.0, seed) });
}

#[test]
fn the_last_request_of_a_small_window_is_cut_to_fit() {
    let longer = |count, budget, seed| Scene { seconds: 130, ..Scene::even(count, budget, seed) };
    assert_steady("1 x 400", |seed| longer(1, 400.0, seed));
    assert_steady("1 x 400, known", |seed| Scene { known: true, ..longer(1, 400.0, seed) });
    assert_steady("4 x 4 000", |seed| longer(4, 4_000.0, seed));
    let report = longer(1, 400.0, 1).play();
    assert!(report.requests < 6 * 130, "{} requests of 57 documents a second: crumbs", report.requests);
}

#[test]
fn a_known_budget_is_used_from_the_first_whole_window_on() {
    for seed in SEEDS {
        let report = Scene { known: true, ..Scene::even(8, 10_000.0, seed) }.play();
        let used = report.least_used(2..10);
        println!("8 x 10 000, known, seed {seed}: {:.2} % used in seconds 2 to 10", used * 100.0);
        assert!(used >= 0.97, "{used}");
    }
}

#[test]
fn an_unknown_budget_is_found_in_three_seconds() {
    for (count, budget) in [(8, 10_000.0), (4, 4_000.0), (1, 400.0)] {
        for seed in SEEDS {
            let after = Scene::even(count, budget, seed).play().used_again_after(0, 0.9);
            println!("{count} x {budget}, seed {seed}: 90 % used after {after} s");
            assert!(after <= 3, "{after} s");
        }
    }
}

#[test]
fn a_halved_budget_is_followed_within_three_seconds() {
    for (count, budget) in [(8, 10_000.0), (4, 4_000.0), (1, 400.0)] {
        for seed in 1..=8 {
            let scene = Scene { steps: vec![(30.0, 0.5)], ..Scene::even(count, budget, seed) };
            let report = scene.play();
            // The window in which it happens is number 29 or 30, by the phase.
            let after = report.used_again_after(30, 0.9);
            let throttled = report.most_throttled(33..69);
            println!(
                "{count} x {budget} halved, seed {seed}: after {after} s, then {:.2} % throttled",
                throttled * 100.0
            );
            assert!(after <= 3, "{after} s");
            assert!(throttled <= 0.01, "{throttled}");
        }
    }
}

#[test]
fn a_doubled_budget_is_found_within_twenty_seconds() {
    for (count, budget) in [(8, 10_000.0), (4, 4_000.0), (1, 400.0)] {
        for seed in 1..=8 {
            let scene = Scene { steps: vec![(30.0, 2.0)], ..Scene::even(count, budget, seed) };
            let report = scene.play();
            let after = report.used_again_after(30, 0.9);
            let throttled = report.most_throttled(31..69);
            println!(
                "{count} x {budget} doubled, seed {seed}: after {after} s, {:.2} % throttled",
                throttled * 100.0
            );
            assert!(after <= 20, "{after} s");
            assert!(throttled <= 0.01, "{throttled}");
        }
    }
}

#[test]
fn the_cap_is_used_and_never_exceeded() {
    for cap in [40_000.0, 4_000.0] {
        for seed in SEEDS {
            let report = Scene { cap: Some(cap), ..Scene::even(8, 10_000.0, seed) }.play();
            let (most, mean) =
                (report.most_in_ten_seconds() / 10.0 / cap, report.units_per_second(10..69) / cap);
            let throttled = report.most_throttled(10..69);
            println!("cap {cap}, seed {seed}: {mean:.4} of it used, {most:.4} in the worst ten seconds");
            assert!(most <= 1.03 && mean >= 0.97, "{most} {mean}");
            assert!(throttled <= 0.01, "{throttled}");
        }
    }
}

#[test]
fn the_cap_is_shared_by_need() {
    for seed in SEEDS {
        let mut scene = Scene { cap: Some(10_000.0), ..Scene::even(4, 10_000.0, seed) };
        // Three lanes need 700 request units a second each; what is left is for the fourth.
        scene.partitions[1..].iter_mut().for_each(|partition| partition.arriving = 100.0);
        let report = scene.play();
        assert!(report.units_per_second(10..69) >= 9_700.0);
        assert!((1..4).all(|lane| report.used(lane, 10..69) >= 0.066), "who needs little is not starved");
        assert!(report.used(0, 10..69) >= 0.75, "{}", report.used(0, 10..69));
    }
}

#[test]
fn little_work_lowers_no_estimate() {
    for seed in SEEDS {
        let mut scene = Scene { known: true, ..Scene::even(2, 4_000.0, seed) };
        scene.partitions = vec![Partition { budget: 4_000.0, arriving: 57.0, burst: 0.0 }; 2];
        let report = scene.play();
        assert_eq!(report.budgets, [Some(4_000.0); 2]);
        assert_eq!(report.most_throttled(0..69), 0.0);
        assert!((report.least_used(1..69) - 0.1).abs() < 0.005, "all that came was sent");
        let unknown = Scene { known: false, ..scene }.play();
        assert_eq!(unknown.budgets, [None; 2], "nothing was throttled, so nothing is known");
        assert!((unknown.least_used(1..69) - 0.1).abs() < 0.005);
    }
}

#[test]
fn work_in_bursts_is_spread_over_windows() {
    for burst in [0.7, 1.7, 3.1, 5.3] {
        for share in [0.2, 0.4, 0.7] {
            for known in [true, false] {
                let mut scene = Scene { known, ..Scene::even(4, 10_000.0, 1) };
                let partition = Partition { budget: 10_000.0, arriving: share * 10_000.0 / 7.0, burst };
                scene.partitions = vec![partition; 4];
                let report = scene.play();
                let (used, throttled) = (report.least_used(10..65), report.most_throttled(10..65));
                println!(
                    "bursts of {burst} s, {share} of the budget: {used:.3} used, {throttled:.4} throttled"
                );
                // A lane that is seldom throttled meets the end of its window once before it knows it.
                assert!(used >= 0.95 * share && throttled <= 0.015, "{used} {throttled}");
            }
        }
    }
}

#[test]
fn a_lane_is_as_good_after_a_pause_as_before() {
    for (count, budget) in [(4, 10_000.0), (1, 400.0)] {
        for seed in SEEDS {
            let report = Scene { pause: 30..45, ..Scene::even(count, budget, seed) }.play();
            let (used, throttled) = (report.least_used(46..69), report.most_throttled(46..69));
            println!(
                "{count} x {budget} after a pause, seed {seed}: {used:.4} used, {throttled:.4} throttled"
            );
            assert!(used >= 0.97 && throttled <= 0.01, "{used} {throttled}");
        }
    }
}

#[test]
fn a_lane_that_splits_hands_down_half_of_its_budget() {
    let mut pacer = Pacer::new(None);
    let parent = pacer.open(Duration::ZERO, Some(10_000.0));
    assert_eq!(pacer.split(Duration::from_secs(5), parent, 2), 1..3);
    assert_eq!([pacer.budget(1), pacer.budget(2)], [Some(5_000.0); 2]);
    let unknown = pacer.open(Duration::from_secs(5), None);
    let children = pacer.split(Duration::from_secs(6), unknown, 2);
    assert!(children.into_iter().all(|child| pacer.budget(child).is_none()));
    // A leave of the parent still comes back.
    let Admission::Send(leave) = pacer.admit(Duration::from_secs(5), parent, 10) else {
        panic!("it may send")
    };
    pacer.answered(
        Duration::from_secs(6),
        leave,
        Answer { request_units: 7.0, charged: 1, ..Answer::default() },
    );
}

#[test]
fn long_ways_and_dear_documents_cost_little() {
    let far = |seed| Scene { latency: 0.15, jitter: 0.005, ..Scene::even(8, 10_000.0, seed) };
    for report in play("8 x 10 000, 150 ms away", far) {
        assert!(report.least_used(20..69) >= 0.97 && report.most_throttled(20..69) <= 0.01);
    }
    let dear = |seed| Scene { dear: 0.02, ..Scene::even(4, 4_000.0, seed) };
    for report in play("4 x 4 000, one in 50 documents at ten times the cost", dear) {
        let (used, throttled) = steady(&report);
        assert!(used >= 0.97 && throttled <= 0.01, "{used} {throttled}");
    }
}

/// A budget is used up when nothing is taken any more, and not when one operation among others is sent away.
#[test]
fn an_operation_that_is_throttled_among_others_says_nothing_of_the_budget() {
    for known in [true, false] {
        let stray = |seed| Scene { stray: 0.02, known, ..Scene::even(4, 10_000.0, seed) };
        for report in play(&format!("4 x 10 000, one in 50 sent away, known: {known}"), stray) {
            let (used, throttled) = steady(&report);
            assert!(used >= 0.9 && throttled <= 0.06, "{used} {throttled}");
        }
    }
}

/// The worst that can be expected of a target that does not work as is believed here.
#[test]
fn a_target_without_windows_is_served_too() {
    for report in
        play("4 x 4 000, continuous", |seed| Scene { continuous: true, ..Scene::even(4, 4_000.0, seed) })
    {
        let (used, throttled) = steady(&report);
        assert!(used >= 0.95 && throttled <= 0.10, "{used} {throttled}");
    }
}

#[test]
fn the_same_scene_is_played_the_same() {
    let scene = Scene { seconds: 15, ..Scene::even(3, 4_000.0, 7) };
    let (one, other) = (scene.play(), scene.play());
    assert_eq!(one.windows, other.windows);
    assert_eq!(one.budgets, other.budgets);
}

#[test]
fn requests_are_sized_for_the_window_and_for_the_cap() {
    let mut pacer = Pacer::new(None);
    let lane = pacer.open(Duration::ZERO, Some(10_000.0));
    let Admission::Send(first) = pacer.admit(Duration::ZERO, lane, 100) else { panic!("it may send") };
    assert_eq!(first.documents, 1, "one document tells what documents cost");
    let millisecond = Duration::from_millis(1);
    pacer.answered(millisecond, first, Answer { request_units: 7.0, charged: 1, ..Answer::default() });
    assert_eq!(pacer.request_documents(lane), 71);
    pacer.set_cap(millisecond, Some(1_400.0));
    assert_eq!(pacer.request_documents(lane), 20, "a tenth of a second of the cap");
}

#[test]
fn a_throttled_lane_waits_as_long_as_it_was_told() {
    let mut pacer = Pacer::new(None);
    let lane = pacer.open(Duration::ZERO, None);
    let Admission::Send(leave) = pacer.admit(Duration::ZERO, lane, 1) else { panic!("it may send") };
    let told = Some(Duration::from_millis(2_300));
    let answer = Answer { throttled: 1, retry_after: told, ..Answer::default() };
    assert!(pacer.answered(Duration::from_millis(5), leave, answer));
    let Admission::Wait(until) = pacer.admit(Duration::from_millis(6), lane, 1) else {
        panic!("it was throttled")
    };
    assert!(until >= Duration::from_millis(2_305) && until < Duration::from_millis(2_400), "{until:?}");
}

#[test]
fn what_is_thrown_back_while_most_of_a_window_is_left_holds_up_no_lane_until_it_is_no_chance() {
    let mut pacer = Pacer::new(None);
    let lane = pacer.open(Duration::ZERO, Some(10_000.0));
    let mut now = Duration::ZERO;
    let mut send = |pacer: &mut Pacer, answer: fn(u32) -> Answer| {
        now += Duration::from_millis(5);
        let Admission::Send(leave) = pacer.admit(now, lane, 10) else { panic!("it may send") };
        pacer.answered(now, leave, answer(leave.documents))
    };
    let written = |documents| Answer {
        request_units: 7.0 * f64::from(documents),
        charged: documents,
        ..Answer::default()
    };
    let thrown_back = |documents| Answer {
        throttled: documents,
        retry_after: Some(Duration::from_millis(900)),
        ..Answer::default()
    };
    assert!(!send(&mut pacer, written));
    (0..3).for_each(|_| assert!(!send(&mut pacer, thrown_back)));
    assert!(send(&mut pacer, thrown_back), "four requests, and nearly all of the window's documents");
    assert!(matches!(pacer.admit(now, lane, 10), Admission::Wait(_)));
}

#[test]
fn a_charge_that_is_no_number_spoils_nothing() {
    for request_units in [f64::INFINITY, f64::NAN, -5.0, 1e300] {
        let mut pacer = Pacer::new(Some(1_000.0));
        let lane = pacer.open(Duration::ZERO, Some(10_000.0));
        let Admission::Send(leave) = pacer.admit(Duration::ZERO, lane, 1) else { panic!("it may send") };
        let now = Duration::from_secs(1);
        pacer.answered(now, leave, Answer { request_units, charged: 1, ..Answer::default() });
        match pacer.admit(now, lane, 100) {
            Admission::Send(next) => assert!(next.expected.is_finite() && request_units != 1e300),
            Admission::Wait(_) => assert_eq!(request_units, 1e300),
        }
        assert!(pacer.budget(lane).is_some_and(f64::is_finite));
    }
}

/// As when most of a request was put off: what was written says what documents cost, the rest says nothing.
#[test]
fn only_what_was_charged_for_tells_what_documents_cost() {
    let mut pacer = Pacer::new(None);
    let lane = pacer.open(Duration::ZERO, Some(10_000.0));
    let mut now = Duration::ZERO;
    for charged in [1, 16, 16, 16, 0] {
        let Admission::Send(leave) = pacer.admit(now, lane, 100) else { panic!("it may send") };
        now += Duration::from_millis(200);
        let request_units = 7.0 * f64::from(charged);
        pacer.answered(now, leave, Answer { request_units, charged, ..Answer::default() });
    }
    assert_eq!(pacer.request_documents(lane), 71);
}

#[test]
fn what_a_request_makes_no_use_of_is_given_back() {
    let mut pacer = Pacer::new(Some(1_000.0));
    let lane = pacer.open(Duration::ZERO, Some(1_000.0));
    let at = |millis| Duration::from_millis(millis);
    let send = |pacer: &mut Pacer, millis| match pacer.admit(at(millis), lane, 10) {
        Admission::Send(leave) => leave,
        Admission::Wait(until) => panic!("it may send, not at {until:?}"),
    };
    let first = send(&mut pacer, 0);
    pacer.answered(at(5), first, Answer { request_units: 10.0, charged: 1, ..Answer::default() });
    let whole = send(&mut pacer, 500);
    assert_eq!((whole.documents, whole.expected), (10, 100.0));
    assert_eq!(pacer.shorten(whole, 0), None);
    assert_eq!(send(&mut pacer, 500), whole, "as if it had never been asked for");
    let part = pacer.shorten(whole, 4).unwrap();
    assert_eq!((part.documents, part.expected), (4, 40.0));
    let rest = send(&mut pacer, 500);
    assert_eq!(rest.documents, 10, "something is left of the cap, so a request may overdraw it");
    assert!(matches!(pacer.admit(at(500), lane, 10), Admission::Wait(_)));
}

/// As Microsoft's emulator in its container is.
#[test]
fn a_target_that_charges_nothing_is_not_held_back() {
    for (cap, budget) in [(None, Some(10_000.0)), (None, None), (Some(1_000.0), Some(10_000.0))] {
        let mut pacer = Pacer::new(cap);
        let lane = pacer.open(Duration::ZERO, budget);
        let mut now = Duration::from_secs(1);
        let mut sent = 0;
        for _ in 0..300 {
            now += Duration::from_millis(1);
            if let Admission::Send(leave) = pacer.admit(now, lane, 100) {
                sent += leave.documents;
                pacer.answered(now, leave, Answer { charged: leave.documents, ..Answer::default() });
            }
        }
        assert!(sent > 20_000, "{sent} with a cap of {cap:?} and a budget of {budget:?}");
    }
}

/// What the hot path works on owns no memory outside of itself, so it cannot allocate.
#[test]
fn lanes_and_the_cap_own_no_memory() {
    fn is_plain<T: Copy>() {}
    is_plain::<Lane>();
    is_plain::<Cap>();
    is_plain::<Leave>();
    is_plain::<Answer>();
}
