//! Rounds in which each contender runs once, one after the other: A B A B. A machine that slows down, or that somebody
//! else uses for a moment, then slows them all alike.

/// How often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Before the first one that counts: files get into memory, connections to the database are made.
    pub(crate) warm_up: usize,
    /// Those that count.
    pub(crate) counted: usize,
}

/// One of those that are compared: gets the number of the round, warm-up included, and gives what it measured.
pub(crate) type Contender<'a, T> = Box<dyn FnMut(usize) -> T + 'a>;

/// Lets them run in turns. Gives the values of each, in the order of the rounds.
pub(crate) fn interleave<T>(rounds: Rounds, mut contenders: Vec<Contender<'_, T>>) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = contenders.iter().map(|_| Vec::with_capacity(rounds.counted)).collect();
    for round in 0..rounds.warm_up + rounds.counted {
        for (run, values) in contenders.iter_mut().zip(&mut all) {
            let value = run(round);
            if round >= rounds.warm_up {
                values.push(value);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn contenders_take_turns_and_the_warm_up_does_not_count() {
        let order = RefCell::new(String::new());
        let run = |name: char| -> Contender<'_, usize> {
            let order = &order;
            Box::new(move |round| {
                order.borrow_mut().push(name);
                round
            })
        };
        let values = interleave(Rounds { warm_up: 1, counted: 2 }, vec![run('a'), run('b')]);
        assert_eq!((values, order.borrow().as_str()), (vec![vec![1, 2], vec![1, 2]], "ababab"));
    }
}
