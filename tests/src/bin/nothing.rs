//! A process that exits at once: what starting any program costs, the baseline of the helper's `store`.

fn main() {}
