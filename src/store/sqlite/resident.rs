//! The jobs and tasks that were written last, kept in memory as well: a job's next step comes soon
//! after its last one, and then nothing has to be read and parsed.
//!
//! Only this process writes the file and only its writer thread fills this, after each transaction
//! and before anybody is told of it. So what is here is what the file says. Bounded: what was
//! written longest ago goes first, and is read from the file when it is wanted after all.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::tail::{Entry, Tail};
use crate::base::{JobId, TaskId};
use crate::domain::{Job, Task};
use crate::store::EventText;

/// Jobs that are kept. One takes about 3 KiB, and more when its data is large.
const JOBS_MAX: usize = 4_096;
/// Tasks that are kept. One takes about 2 KiB.
const TASKS_MAX: usize = 8_192;
/// Text of all jobs that are kept, in bytes: a few large ones must not fill the memory.
const JOB_BYTES_MAX: usize = 32 << 20;
/// Likewise of all tasks.
const TASK_BYTES_MAX: usize = 32 << 20;

/// A record, and the length of its text, which stands for the memory that it takes.
#[derive(Debug, Clone)]
struct Kept<V> {
    value: V,
    bytes: usize,
    turn: u64,
}

/// A map that forgets what was put longest ago.
#[derive(Debug)]
struct Recent<K, V> {
    kept: HashMap<K, Kept<V>>,
    /// Who was put when; an entry whose turn is over stands for nothing.
    turns: VecDeque<(u64, K)>,
    turn: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            kept: HashMap::new(),
            turns: VecDeque::new(),
            turn: 0,
            bytes: 0,
            count_max,
            bytes_max,
        }
    }

    fn put(&mut self, key: K, value: V, bytes: usize) {
        self.turn += 1;
        let turn = self.turn;
        self.turns.push_back((turn, key.clone()));
        self.bytes += bytes;
        if let Some(old) = self.kept.insert(key, Kept { value, bytes, turn }) {
            self.bytes -= old.bytes;
        }
        // A record that is written again and again leaves turns behind, hence the second bound.
        while self.kept.len() > self.count_max
            || self.bytes > self.bytes_max
            || self.turns.len() > 2 * self.count_max
        {
            let Some((turn, key)) = self.turns.pop_front() else {
                return;
            };
            if self.kept.get(&key).is_some_and(|kept| kept.turn == turn) {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
    }
}

#[derive(Debug)]
struct Maps {
    jobs: Recent<JobId, Arc<Job>>,
    tasks: Recent<TaskId, Arc<Task>>,
}

impl Maps {
    fn new() -> Self {
        Self {
            jobs: Recent::new(JOBS_MAX, JOB_BYTES_MAX),
            tasks: Recent::new(TASKS_MAX, TASK_BYTES_MAX),
        }
    }
}

/// What is kept; shared by the writer and everybody who reads. None once the store is closed: what
/// it still had would be answered for ever, and a writer that is late must not add to it.
#[derive(Debug)]
pub(super) struct Resident {
    maps: Mutex<Option<Maps>>,
    /// The end of what goes into the archive; none without one.
    tail: Mutex<Option<Tail>>,
}

impl Resident {
    /// Returns one that keeps nothing yet. Without a tail nothing is kept for an archive.
    pub fn new(tail: Option<Tail>) -> Self {
        Self {
            maps: Mutex::new(Some(Maps::new())),
            tail: Mutex::new(tail),
        }
    }

    /// Forgets everything and keeps nothing any more.
    pub fn close(&self) {
        *self.maps() = None;
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks at the end of the feed, or changes it; nothing when it is not kept.
    pub fn tail<T>(&self, look: impl FnOnce(&mut Tail) -> T) -> Option<T> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.as_mut().map(look)
    }

    fn maps(&self) -> MutexGuard<'_, Option<Maps>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the job as it was last written, when it is kept.
    pub fn job(&self, id: JobId) -> Option<Arc<Job>> {
        let maps = self.maps();
        let jobs = &maps.as_ref()?.jobs;
        jobs.kept.get(&id).map(|kept| Arc::clone(&kept.value))
    }

    /// Returns the job as [`job`](Self::job) does, and how long its text is, in bytes.
    pub fn job_and_length(&self, id: JobId) -> Option<(Arc<Job>, usize)> {
        let maps = self.maps();
        let kept = maps.as_ref()?.jobs.kept.get(&id)?;
        Some((Arc::clone(&kept.value), kept.bytes))
    }

    /// Returns the task as it was last written, when it is kept.
    pub fn task(&self, id: &TaskId) -> Option<Arc<Task>> {
        let maps = self.maps();
        let tasks = &maps.as_ref()?.tasks;
        tasks.kept.get(id).map(|kept| Arc::clone(&kept.value))
    }
}

/// What a transaction has written and nobody may see yet. None stands for what it has deleted.
#[derive(Debug, Default)]
struct Staged {
    jobs: HashMap<JobId, Option<(Arc<Job>, usize)>>,
    tasks: HashMap<TaskId, Option<(Arc<Task>, usize)>>,
    told: Vec<Entry>,
}

/// The writer's transaction: its connection, and what is to be kept once it is on disk.
pub(super) struct Transaction<'a> {
    db: &'a Connection,
    resident: &'a Resident,
    staged: RefCell<Staged>,
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

impl<'a> Transaction<'a> {
    /// Returns one in which nothing has been written.
    pub fn new(db: &'a Connection, resident: &'a Resident) -> Self {
        Self {
            db,
            resident,
            staged: RefCell::default(),
        }
    }

    /// Returns the job as this transaction sees it, when it need not be read.
    pub fn known_job(&self, id: JobId) -> Option<Arc<Job>> {
        match self.staged.borrow().jobs.get(&id) {
            Some(staged) => staged.as_ref().map(|(job, _)| Arc::clone(job)),
            None => self.resident.job(id),
        }
    }

    /// Returns the task as this transaction sees it, when it need not be read.
    pub fn known_task(&self, id: &TaskId) -> Option<Arc<Task>> {
        match self.staged.borrow().tasks.get(id) {
            Some(staged) => staged.as_ref().map(|(task, _)| Arc::clone(task)),
            None => self.resident.task(id),
        }
    }

    /// The job has been written, in so many bytes.
    pub fn wrote_job(&self, job: &Arc<Job>, bytes: usize) {
        let staged = Some((Arc::clone(job), bytes));
        self.staged.borrow_mut().jobs.insert(job.id, staged);
    }

    /// The task has been written, in so many bytes.
    pub fn wrote_task(&self, task: Arc<Task>, bytes: usize) {
        let id = task.id.clone();
        let staged = Some((task, bytes));
        self.staged.borrow_mut().tasks.insert(id, staged);
    }

    /// A row of history has been written, in so many bytes: the archive will want what it tells.
    pub fn told(&self, seq: i64, job: JobId, (events, bytes): (Arc<[EventText]>, usize)) {
        self.staged.borrow_mut().told.push(Entry {
            seq,
            job,
            events,
            bytes,
        });
    }

    /// The job has been deleted.
    pub fn deleted_job(&self, id: JobId) {
        self.staged.borrow_mut().jobs.insert(id, None);
    }

    /// The task has been deleted.
    pub fn deleted_task(&self, id: TaskId) {
        self.staged.borrow_mut().tasks.insert(id, None);
    }

    /// The transaction is on disk: what it has written may be seen.
    pub fn publish(self) {
        let mut staged = self.staged.into_inner();
        if !staged.told.is_empty() {
            let told = std::mem::take(&mut staged.told);
            self.resident
                .tail(|tail| told.into_iter().for_each(|entry| tail.push(entry)));
        }
        if staged.jobs.is_empty() && staged.tasks.is_empty() {
            return;
        }
        let mut open = self.resident.maps();
        let Some(maps) = open.as_mut() else {
            return;
        };
        for (id, job) in staged.jobs {
            match job {
                Some((job, bytes)) => maps.jobs.put(id, job, bytes),
                None => maps.jobs.remove(&id),
            }
        }
        for (id, task) in staged.tasks {
            match task {
                Some((task, bytes)) => maps.tasks.put(id, task, bytes),
                None => maps.tasks.remove(&id),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(recent: &Recent<u8, char>) -> Vec<u8> {
        let mut keys: Vec<u8> = recent.kept.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_was_put_longest_ago_goes_first() {
        let mut recent = Recent::new(2, 100);
        recent.put(1, 'a', 10);
        recent.put(2, 'b', 10);
        recent.put(1, 'c', 10);
        recent.put(3, 'd', 10);
        assert_eq!(kept(&recent), [1, 3]);
        assert_eq!(recent.kept[&1].value, 'c');
        assert_eq!(recent.bytes, 20);
    }

    #[test]
    fn bytes_and_turns_are_bounded_too() {
        let mut recent = Recent::new(10, 100);
        recent.put(1, 'a', 60);
        recent.put(2, 'b', 60);
        assert_eq!(kept(&recent), [2]);
        recent.put(3, 'c', 1_000);
        assert_eq!(kept(&recent), Vec::<u8>::new(), "larger than all may be");
        assert_eq!(recent.bytes, 0);
        for _ in 0..1_000 {
            recent.put(4, 'd', 1);
        }
        assert_eq!((kept(&recent), recent.bytes), (vec![4], 1));
        assert!(recent.turns.len() <= 20);
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut recent = Recent::new(2, 100);
        recent.put(1, 'a', 10);
        recent.remove(&1);
        recent.remove(&9);
        assert_eq!((kept(&recent), recent.bytes), (vec![], 0));
    }

    #[test]
    fn a_late_writer_adds_nothing_to_what_is_closed() {
        let resident = Resident::new(None);
        let db = Connection::open_in_memory().expect("opens");
        let id = TaskId::from("task-1");
        let put = || {
            let transaction = Transaction::new(&db, &resident);
            let mut staged = transaction.staged.borrow_mut();
            staged.tasks.insert(id.clone(), None);
            drop(staged);
            transaction.publish();
        };
        put();
        assert!(resident.maps().is_some());
        resident.close();
        put();
        assert!(resident.maps().is_none() && resident.task(&id).is_none());
    }
}
