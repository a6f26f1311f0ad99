//! Sides that are compared: medians over rounds in which they run in turns.

/// The median of so many values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the median of the rounds' ratios, and of the sides.
pub(crate) fn compare(name: &str, aim: &str, one: &[f64], other: &[f64], unit: impl Fn(f64) -> String) {
    let ratio = median(one.iter().zip(other).map(|(one, other)| one / other).collect());
    let [one, other] = [one, other].map(|side| unit(median(side.to_vec())));
    println!("{name}: {one} against {other}, ratio {ratio:.2} ({aim})");
}
