//! What waits, and how it is answered; without a database, which has its own tests.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tok_model::secret::Digest;
use tok_store::StoreError;
use tok_store::tokens::Found;
use tokio::sync::oneshot;

use super::queue::{LookUp, MOST_WAITING, Queue, Turn};
use super::together::{Asker, Delivery, Line, answer};
use super::{DEADLINE, End, Executor};

type Answer = Result<u32, StoreError>;

fn asker(question: u32) -> (Asker<u32, u32>, oneshot::Receiver<Answer>) {
    let (answer, waiting) = oneshot::channel();
    (Asker { question, answer, asked: Instant::now(), deadline: DEADLINE }, waiting)
}

fn look_up(number: u64) -> (LookUp, oneshot::Receiver<Result<Option<Found>, StoreError>>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let (answer, waiting) = oneshot::channel();
    (Asker { question: vec![Digest::from_bytes(bytes)], answer, asked: Instant::now(), deadline: DEADLINE }, waiting)
}

#[test]
fn who_comes_alone_waits_for_nobody_and_the_rest_go_together() {
    let mut line = Line::new(1, 1);
    let numbers = |askers: Vec<Asker<u32, u32>>| askers.iter().map(|asker| asker.question).collect::<Vec<_>>();
    assert!(line.join(asker(1).0), "the first asks at once");
    assert_eq!(numbers(line.take()), [1]);
    assert!(!line.join(asker(2).0) && !line.join(asker(3).0), "these wait for the first to be answered");
    assert!(line.ended());
    assert_eq!(numbers(line.take()), [2, 3]);
    assert!(!line.ended(), "nobody waits any more");
    assert!(line.join(asker(4).0), "and the next one is the first again");

    let mut line = Line::new(2, 2);
    assert!(line.join(asker(1).0));
    assert_eq!(numbers(line.take()), [1]);
    assert!(!line.join(asker(2).0), "one is not worth a second turn");
    assert!(line.join(asker(3).0), "two are");
    assert_eq!(numbers(line.take()), [2, 3]);
    assert!(!line.join(asker(4).0) && !line.join(asker(5).0), "there is no third turn");
    assert!(line.ended(), "the first turn's place is free again, and two wait");
    assert_eq!(numbers(line.take()), [4, 5]);
    assert!(!line.join(asker(6).0));
    assert!(!line.ended(), "one waits, while another turn is under way");
    assert!(line.ended(), "with none under way one is enough");
    assert_eq!(numbers(line.take()), [6]);
}

#[test]
fn one_that_fails_or_panics_takes_nobody_with_it() {
    let (askers, waiting): (Vec<_>, Vec<_>) = (0..20).map(asker).unzip();
    let one = |number: u32| match number {
        7 => panic!("seven"),
        9 => Err(StoreError::Conflict { what: "nine".to_owned() }),
        other => Ok(other * 2),
    };
    let together = |asked: &[&u32]| Ok(asked.iter().map(|number| one(**number)).collect());
    answer(askers, &Delivery::default(), together, |number| one(*number));
    for (number, mut waiting) in (0..).zip(waiting) {
        match (number, waiting.try_recv()) {
            (7, Err(_)) => {}
            (9, Ok(Err(StoreError::Conflict { what }))) => assert_eq!(what, "nine"),
            (other, Ok(Ok(answer))) => assert_eq!(answer, other * 2),
            (other, got) => panic!("{other} got {got:?}"),
        }
    }

    // A statement that fails for all of them because of one.
    let (askers, waiting): (Vec<_>, Vec<_>) = (6..12).map(asker).unzip();
    let refused = |_: &[&u32]| Err(StoreError::NotFound { what: "all of it".to_owned(), look: String::new() });
    answer(askers, &Delivery::default(), refused, |number| one(*number));
    let answered = waiting.into_iter().map(|mut waiting| matches!(waiting.try_recv(), Ok(Ok(_))));
    assert_eq!(answered.collect::<Vec<_>>(), [true, false, true, false, true, true]);
}

#[test]
fn nobody_is_asked_about_who_does_not_wait_any_more() {
    let asked = RefCell::new(Vec::new());
    let all = |questions: &[&u32]| {
        asked.borrow_mut().extend(questions.iter().map(|number| **number));
        Ok(questions.iter().map(|number| Ok(**number)).collect())
    };
    let alone = |number: &u32| {
        asked.borrow_mut().push(*number);
        Ok(*number)
    };
    let ((first, waiting), (given_up, gone), (mut late, _late)) = (asker(1), asker(2), asker(3));
    drop(gone);
    late.asked = Instant::now().checked_sub(DEADLINE + Duration::from_secs(1)).unwrap();
    let (other, _other) = asker(4);
    answer(vec![first, given_up, late, other], &Delivery::default(), all, alone);
    assert_eq!(*asked.borrow(), [1, 4]);
    drop(waiting);
    let (alone_and_gone, gone) = asker(5);
    drop(gone);
    answer(vec![alone_and_gone], &Delivery::default(), all, alone);
    assert_eq!(*asked.borrow(), [1, 4]);
}

#[test]
fn a_full_queue_is_full_for_everything() {
    let queue = Queue::new();
    let mut waiting = Vec::new();
    // Two turns have a place each, besides those who wait for them.
    for number in 0..MOST_WAITING as u64 - 2 {
        let (asker, answer) = look_up(number);
        assert!(queue.look_up(asker), "{number}");
        waiting.push(answer);
    }
    assert!(!queue.look_up(look_up(0).0));
    assert!(!queue.add(Box::new(|_| ())));
    let Some(Turn::LookUps(taken)) = queue.next() else { panic!("look-ups wait") };
    assert!(!taken.is_empty());
    assert!(queue.add(Box::new(|_| ())), "there is room again");
}

#[test]
fn everybody_gets_their_own_answer() {
    const THREADS: u64 = 8;
    const EACH: u64 = 400;
    let queue = Arc::new(Queue::new());
    let said = |digest: &Digest| StoreError::NotFound { what: format!("{:?}", digest.as_bytes()), look: String::new() };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(turn) = queue.next() {
                    let Turn::LookUps(askers) = turn else { panic!("nobody asked for that") };
                    let one = |digests: &Vec<Digest>| Err(said(&digests[0]));
                    answer(
                        askers,
                        &Delivery::default(),
                        |all| Ok(all.iter().map(|digests| one(digests)).collect()),
                        one,
                    );
                    queue.looked_up();
                }
            });
        }
        let asking: Vec<_> = (0..THREADS)
            .map(|thread| {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..EACH {
                        // Some are asked about by several at once.
                        let (asker, answer) = look_up(number + thread % 2 * EACH);
                        let expected = said(&asker.question[0]).to_string();
                        assert!(queue.look_up(asker));
                        assert_eq!(answer.blocking_recv().unwrap().unwrap_err().to_string(), expected);
                    }
                })
            })
            .collect();
        let failed = asking.into_iter().filter_map(|asking| asking.join().err()).count();
        queue.end();
        assert_eq!(failed, 0);
    });
}

#[tokio::test]
async fn who_gives_up_is_told_nothing_and_a_dropped_answer_is_an_outage() {
    let queue = Arc::new(Queue::new());
    let executor = Executor { _end: Arc::new(End(Arc::clone(&queue))), queue: Arc::clone(&queue), store: None };
    let taken = thread::spawn(move || {
        // As after a panic: taken, and never answered.
        let Some(Turn::LookUps(askers)) = queue.next() else { panic!("a look-up waits") };
        drop(askers);
        queue.looked_up();
    });
    let error = executor.look_up(vec![Digest::from_bytes([1; 32])]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { what, .. } if what.contains("given up")), "{error}");
    taken.join().unwrap();
}
