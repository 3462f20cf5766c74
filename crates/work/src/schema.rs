//! The tables, and how older ones become these.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as a store of skynet: "skyn".
pub(crate) const APPLICATION: u32 = 0x736b_796e;

/// Each step leads from the version of its index to the next. Steps are only ever added.
pub(crate) const MIGRATIONS: &[&str] =
    &[FIRST, PAST, ACTS, DROPS, OWED, BOUNDS, STAGES, WHOLE, ANSWERS, AGAIN];

/// The first version that knows whose answer a job is.
pub(crate) const KNOWS_ANSWERS: u32 = 9;

/// Version of the tables that this program knows.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// A check against a list (`IN`) would make a table of it with each change of a row, which takes as
/// long as the change.
///
/// Times: `_at` in microseconds since 1970; `due` and `lease_until` in nanoseconds of the
/// monotonic clock of the boot that `meta` names.
const FIRST: &str = "
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE label (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    priority INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    known INTEGER NOT NULL CHECK (known IN (0, 1))
) STRICT;
INSERT INTO label VALUES (1, '', 0, 1, 1);
CREATE INDEX label_order ON label (known DESC, priority DESC, id) WHERE active = 1;

CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    label INTEGER NOT NULL REFERENCES label,
    owner INTEGER,
    payload BLOB,
    state TEXT NOT NULL CHECK (state = 'hold' OR state = 'new' OR state = 'ready' OR state = 'run'
        OR state = 'cancelling' OR state = 'stop'),
    fault INTEGER NOT NULL,
    count INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE dependency (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    component TEXT NOT NULL,
    checker TEXT,
    state TEXT NOT NULL CHECK (state = 'hold' OR state = 'new' OR state = 'ready' OR state = 'run'
        OR state = 'cancelling' OR state = 'stop'),
    fault INTEGER NOT NULL,
    count INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    UNIQUE (kind, name, component)
) STRICT;

CREATE TABLE taker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    pid INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    lease_ns INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    exhausted INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    longest_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX taker_queue ON taker (queue);

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    wfid TEXT NOT NULL,
    identity TEXT NOT NULL,
    label INTEGER NOT NULL REFERENCES label,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state = 'hold' OR state = 'new' OR state = 'ready' OR state = 'run'
        OR state = 'cancelling' OR state = 'stop'),
    fault INTEGER NOT NULL,
    count INTEGER NOT NULL,
    wary INTEGER NOT NULL CHECK (wary IN (0, 1)),
    due INTEGER,
    due_at INTEGER,
    holder INTEGER,
    lease INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    attempt INTEGER,
    request INTEGER REFERENCES request,
    parent INTEGER,
    dependency INTEGER REFERENCES dependency,
    key TEXT,
    owner INTEGER,
    reply_to TEXT,
    answered INTEGER NOT NULL CHECK (answered IN (0, 1)),
    stage TEXT,
    submitted_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    CHECK (holder IS NULL OR state = 'ready' OR state = 'run' OR state = 'cancelling'),
    CHECK (holder IS NOT NULL OR state <> 'run' AND state <> 'cancelling'),
    CHECK ((due IS NULL) = (due_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX job_identity ON job (wfid, identity, queue);
CREATE INDEX job_ready ON job (queue, label, priority DESC, id)
    WHERE state = 'ready' AND holder IS NULL AND due IS NULL;
CREATE INDEX job_due ON job (queue, due) WHERE due IS NOT NULL;
CREATE INDEX job_held ON job (holder) WHERE holder IS NOT NULL;
CREATE INDEX job_request ON job (request) WHERE request IS NOT NULL;
CREATE INDEX job_parent ON job (parent) WHERE parent IS NOT NULL;
CREATE INDEX job_dependency ON job (dependency) WHERE dependency IS NOT NULL;
CREATE INDEX job_key ON job (key) WHERE key IS NOT NULL;

CREATE TABLE item (
    job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    sum INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
    number INTEGER NOT NULL,
    taker INTEGER NOT NULL,
    instance TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    how TEXT CHECK (how = 'ended' OR how = 'interrupted' OR how = 'lost' OR how = 'overdue'),
    fault INTEGER,
    code INTEGER,
    signal INTEGER,
    text TEXT,
    signature TEXT,
    log TEXT,
    cpu_us INTEGER,
    peak_kib INTEGER,
    sum INTEGER,
    output BLOB,
    CHECK ((how IS NULL) = (ended_at IS NULL)),
    CHECK ((sum IS NULL) = (output IS NULL))
) STRICT;
CREATE INDEX attempt_job ON attempt (job);

CREATE TABLE lock (
    name TEXT PRIMARY KEY,
    job INTEGER,
    holder TEXT,
    since_at INTEGER NOT NULL,
    CHECK ((job IS NULL) <> (holder IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE fault (
    queue TEXT NOT NULL,
    signature TEXT NOT NULL,
    code INTEGER NOT NULL,
    text TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    owner TEXT,
    bug TEXT,
    PRIMARY KEY (queue, signature)
) STRICT, WITHOUT ROWID;
CREATE TABLE fault_day (
    queue TEXT NOT NULL,
    signature TEXT NOT NULL,
    day INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (queue, signature, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    owner INTEGER,
    job INTEGER,
    fault INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
";

/// History is read by these, however many attempts there are: those of a queue in the order of their
/// ends, with all that sums need; the jobs that have stopped likewise.
///
/// An attempt's output stays its last column: of what stands before another one, the database makes a
/// copy in memory.
const PAST: &str = "
CREATE TABLE attempt_of_queue (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,
    queue TEXT NOT NULL,
    number INTEGER NOT NULL,
    taker INTEGER NOT NULL,
    instance TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    how TEXT CHECK (how = 'ended' OR how = 'interrupted' OR how = 'lost' OR how = 'overdue'),
    fault INTEGER,
    code INTEGER,
    signal INTEGER,
    text TEXT,
    signature TEXT,
    log TEXT,
    cpu_us INTEGER,
    peak_kib INTEGER,
    sum INTEGER,
    output BLOB,
    CHECK ((how IS NULL) = (ended_at IS NULL)),
    CHECK ((sum IS NULL) = (output IS NULL))
) STRICT;
INSERT INTO attempt_of_queue
    SELECT a.id, job, j.queue, number, taker, instance, begun_at, ended_at, how, a.fault, code, signal,
        text, signature, log, cpu_us, peak_kib, sum, output
    FROM attempt a JOIN job j ON j.id = a.job;
DROP TABLE attempt;
ALTER TABLE attempt_of_queue RENAME TO attempt;
CREATE INDEX attempt_job ON attempt (job);
CREATE INDEX attempt_past ON attempt (queue, ended_at, id, begun_at, fault, how, signature)
    WHERE ended_at IS NOT NULL;
CREATE INDEX job_past ON job (queue, changed_at, fault) WHERE state = 'stop';
";

/// Who asked for what; and which failures are taken up by themselves.
const ACTS: &str = "
CREATE TABLE act (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    queue TEXT NOT NULL,
    job INTEGER,
    wfid TEXT,
    detail TEXT,
    rule INTEGER
) STRICT;
CREATE INDEX act_job ON act (job) WHERE job IS NOT NULL;
CREATE INDEX act_at ON act (at);

CREATE TABLE rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    signature TEXT NOT NULL,
    most INTEGER NOT NULL CHECK (most > 0),
    delay_us INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    used INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    name TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    UNIQUE (queue, signature)
) STRICT;

CREATE INDEX dead_job ON dead (job) WHERE job IS NOT NULL;
";

/// Which files of drop folders are recorded: one that was not removed yet is not asked for again.
const DROPS: &str = "
CREATE TABLE dropped (
    id INTEGER PRIMARY KEY,
    file INTEGER NOT NULL UNIQUE,
    at INTEGER NOT NULL
) STRICT;
";

/// Which jobs came from another broker that may still send them again: they are what it is answered by.
const OWED: &str = "
CREATE TABLE owed (
    job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE
) STRICT;
";

/// By these what nobody needs any more is found: labels without a job, dead items that never were one.
const BOUNDS: &str = "
CREATE INDEX job_label ON job (label);
CREATE INDEX request_label ON request (label);
CREATE INDEX dead_stray ON dead (owner, id) WHERE job IS NULL;
";

/// How far earlier attempts had come when one began. Most have no row here; in that of the attempt
/// itself it would stand behind the output, which is to stay last.
const STAGES: &str = "
CREATE TABLE stage (
    attempt INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    stage TEXT NOT NULL
) STRICT;
";

/// What is not parsed yet, and what others wait for, rests between two tries as jobs do; a lock may be
/// let go of with a life. A request whose jobs have all stopped has stopped, too.
const WHOLE: &str = "
ALTER TABLE request ADD COLUMN due INTEGER;
ALTER TABLE request ADD COLUMN due_at INTEGER CHECK ((due IS NULL) = (due_at IS NULL));
ALTER TABLE dependency ADD COLUMN due INTEGER;
ALTER TABLE dependency ADD COLUMN due_at INTEGER CHECK ((due IS NULL) = (due_at IS NULL));
ALTER TABLE lock ADD COLUMN life INTEGER;
CREATE INDEX lock_life ON lock (life) WHERE life IS NOT NULL;
CREATE INDEX request_past ON request (changed_at) WHERE state = 'stop';
UPDATE request SET state = 'stop', fault = coalesce((SELECT fault FROM job
        WHERE request = request.id AND fault <> 0 ORDER BY id LIMIT 1), 0)
    WHERE state <> 'stop' AND NOT EXISTS (SELECT 1 FROM job
        WHERE request = request.id AND state <> 'stop');
";

/// Which job a job is the answer of, 0 = of none: answers have a name of their own beside whatever else is
/// called so, and nobody makes one but the end of its job. Of older ones this is known where one job alone
/// may have made it: of that name, with that end, of the same user.
const ANSWERS: &str = "
ALTER TABLE job ADD COLUMN answer_to INTEGER NOT NULL DEFAULT 0;
UPDATE job SET answer_to = made.asked FROM (
    SELECT a.id AS answer, min(j.id) AS asked FROM job j
        CROSS JOIN attempt t ON t.job = j.id
        CROSS JOIN job a ON a.wfid = iif(j.wfid = '', 'job-' || j.id, j.wfid)
            AND a.identity = j.identity || '#' || t.number AND a.queue = j.reply_to
        JOIN item i ON i.job = a.id
    WHERE j.reply_to IS NOT NULL AND t.how IS NOT NULL AND a.id > j.id AND a.owner IS j.owner
        AND a.reply_to IS NULL AND i.sum = coalesce(t.sum,
            iif(t.fault = 0, (SELECT sum FROM item WHERE job = j.id), i.sum))
    GROUP BY a.id HAVING count(*) = 1
) AS made WHERE job.id = made.answer;
DROP INDEX job_identity;
CREATE UNIQUE INDEX job_identity ON job (wfid, identity, queue, answer_to);
";

/// Queues whose items come from another broker, and what of them that one is to be sent again. Of what
/// was requeued before, what nobody has sent is sent now: it is ready, and no message of it is left.
const AGAIN: &str = "
CREATE TABLE remote (
    queue TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE again (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL UNIQUE REFERENCES job ON DELETE CASCADE,
    has_message INTEGER NOT NULL CHECK (has_message = 0 OR has_message = 1)
) STRICT;
INSERT INTO remote SELECT DISTINCT queue FROM job
    WHERE owner IS NULL AND reply_to IS NULL AND answer_to = 0
    UNION SELECT queue FROM owed JOIN job ON job.id = owed.job;
INSERT INTO again (job, has_message) SELECT id, 0 FROM job
    WHERE state = 'ready' AND holder IS NULL AND due IS NULL AND tries > 0
        AND queue IN (SELECT queue FROM remote) AND id NOT IN (SELECT job FROM owed)
    ORDER BY id;
";

/// Brings the tables to the newest of `steps`, all of them or none. The caller has the gate.
pub(crate) fn migrate(conn: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = steps.get(found as usize..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", steps.len() as u32)?;
    tx.commit()
}

/// Returns what stands in a database: kinds, names, and how they were made.
pub(crate) fn definitions(conn: &Connection) -> rusqlite::Result<Vec<[String; 4]>> {
    // What the analyser may have added by hand is not ours to judge.
    let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
        WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2";
    let mut statement = conn.prepare(sql)?;
    let rows =
        statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    rows.collect()
}

/// Returns what stands in a database of this version.
pub(crate) fn definitions_of(version: u32) -> rusqlite::Result<Vec<[String; 4]>> {
    let mut conn = Connection::open_in_memory()?;
    migrate(&mut conn, MIGRATIONS.get(..version as usize).unwrap_or(MIGRATIONS))?;
    definitions(&conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(conn: &Connection) -> u32 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_store_of_any_earlier_version_becomes_the_newest_and_keeps_what_it_has() {
        let steps = &["CREATE TABLE a (x)", "CREATE TABLE b (y)", "INSERT INTO b SELECT x FROM a"];
        for from in 0..=steps.len() {
            let mut conn = Connection::open_in_memory().unwrap();
            migrate(&mut conn, &steps[..from]).unwrap();
            if from > 0 {
                conn.execute_batch("INSERT INTO a VALUES (7)").unwrap();
            }
            migrate(&mut conn, steps).unwrap();
            assert_eq!(version(&conn), 3);
            let moved: u32 =
                conn.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap();
            assert_eq!(moved, u32::from(from == 1 || from == 2));
        }
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &["CREATE TABLE a (x)"]).unwrap();
        let steps = &["CREATE TABLE a (x)", "CREATE TABLE b (y)", "nonsense"];
        migrate(&mut conn, steps).unwrap_err();
        assert_eq!(version(&conn), 1);
        conn.query_row("SELECT count(*) FROM b", [], |_| Ok(())).unwrap_err();
    }

    #[test]
    fn a_store_of_the_first_version_becomes_the_newest_and_keeps_what_it_has() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &MIGRATIONS[..1]).unwrap();
        conn.execute_batch(
            "INSERT INTO job VALUES (7, 'q', 'w', 'i', 1, 0, 'stop', 25, 3, 0, NULL, NULL, NULL, 3,
                3, 1, NULL, NULL, NULL, NULL, 1000, NULL, 0, NULL, 1, 2);
            INSERT INTO item VALUES (7, 99, x'7b7d');
            INSERT INTO attempt (id, job, number, taker, instance, begun_at) VALUES (1, 7, 1, 1, 'i', 1);
            INSERT INTO dead VALUES (4, 'q', 1000, 7, 5, 'it broke', 3, 99, x'7b7d');
            INSERT INTO fault VALUES ('q', 's', 5, 'it broke', 3, 1, 3, 'ann', NULL)",
        )
        .unwrap();
        let rows = |conn: &Connection| -> Vec<String> {
            let sql = "SELECT id || queue || state || fault || count || tries FROM job
                UNION ALL SELECT job || sum || hex(bytes) FROM item
                UNION ALL SELECT id || job || instance FROM attempt
                UNION ALL SELECT id || reason || hex(bytes) FROM dead
                UNION ALL SELECT signature || count || owner FROM fault";
            let mut statement = conn.prepare(sql).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let before = rows(&conn);
        assert_eq!(before.len(), 5);
        migrate(&mut conn, MIGRATIONS).unwrap();
        assert_eq!((version(&conn), rows(&conn)), (VERSION, before));
        assert_eq!(definitions(&conn).unwrap(), definitions_of(VERSION).unwrap());
        let whole: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }

    #[test]
    fn a_request_that_was_left_ready_though_its_jobs_have_stopped_has_stopped_and_others_stay() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &MIGRATIONS[..7]).unwrap();
        let rows =
            "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
                wary, lease, tries, answered, submitted_at, changed_at, request)
                VALUES (1, 'q', 'w', 'a', 1, 0, 'stop', 0, 0, 0, 1, 1, 0, 1, 1, 1),
                    (2, 'q', 'w', 'b', 1, 0, 'stop', 12, 1, 0, 1, 1, 0, 1, 1, 1),
                    (3, 'q', 'w', 'c', 1, 0, 'ready', 0, 0, 0, 0, 0, 0, 1, 1, 2),
                    (4, 'q', 'w', 'd', 1, 0, 'stop', 0, 0, 0, 1, 1, 0, 1, 1, 3);";
        let others = "INSERT INTO request VALUES (1, 'r1', '', 1, NULL, NULL, 'ready', 0, 0, 1, 1),
                    (2, 'r2', '', 1, NULL, NULL, 'hold', 0, 0, 1, 1),
                    (3, 'r3', '', 1, NULL, NULL, 'stop', 900, 0, 1, 1);
            INSERT INTO dependency VALUES (1, 'k', 'n', 'c', 'q', 'new', 0, 0, 1);
            INSERT INTO lock VALUES ('l', NULL, 'ann', 1);";
        conn.execute_batch(&format!("{others}{rows}")).unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let sql =
            "SELECT name || ' ' || state || ' ' || fault || ' ' || ifnull(due, '-') FROM request
            UNION ALL SELECT name || ' ' || state || ' ' || fault || ' ' || ifnull(due_at, '-')
                FROM dependency
            UNION ALL SELECT name || ' ' || holder || ' ' || ifnull(life, '-') FROM lock";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        let expected = ["r1 stop 12 -", "r2 hold 0 -", "r3 stop 900 -", "n new 0 -", "l ann -"];
        assert_eq!((version(&conn), rows), (VERSION, expected.map(str::to_owned).to_vec()));
        let whole: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }

    #[test]
    fn an_answer_of_before_is_known_by_its_job_where_that_one_alone_may_have_made_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &MIGRATIONS[..8]).unwrap();
        // Who asked, and what is called as an answer of it: same user or not, same bytes or not.
        let put = |id: u32, queue: &str, [wfid, rest]: [&str; 2], owner: u32, sum: u32| {
            let reply_to = Some("r").filter(|reply_to| *reply_to != queue);
            let job =
                "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
                    wary, lease, tries, answered, submitted_at, changed_at, owner, reply_to)
                    VALUES (?1, ?2, ?3, ?4, 1, 0, 'stop', 0, 0, 0, 2, 2, 0, 1, 1, ?5, ?6)";
            conn.execute(job, (id, queue, wfid, rest, owner, reply_to)).unwrap();
            conn.execute("INSERT INTO item VALUES (?1, ?2, x'7b7d')", [id, sum]).unwrap();
            let attempt =
                "INSERT INTO attempt (job, queue, number, taker, instance, begun_at, ended_at, how,
                    fault, sum, output) VALUES (?1, ?2, ?3, 1, 'i', 1, 2, 'ended', 0, ?4, x'00')";
            for n in (1..=2).filter(|_| reply_to.is_some()) {
                conn.execute(attempt, (id, queue, n, id * 10 + n)).unwrap();
            }
        };
        put(1, "r", ["w", "before#2"], 7, 102);
        put(10, "q", ["w", "before"], 7, 0);
        put(20, "q", ["w", "plain"], 7, 0);
        put(21, "r", ["w", "plain#1"], 7, 201);
        put(22, "r", ["w", "plain#2"], 7, 202);
        put(30, "q", ["", "nameless"], 7, 0);
        put(31, "r", ["job-30", "nameless#2"], 7, 302);
        put(40, "q", ["w", "stranger"], 7, 0);
        put(41, "r", ["w", "stranger#2"], 8, 402);
        put(50, "q", ["w", "other bytes"], 7, 0);
        put(51, "r", ["w", "other bytes#2"], 7, 999);
        // Of two that are called so, one has this end.
        put(60, "a", ["w", "two"], 7, 0);
        put(61, "b", ["w", "two"], 7, 0);
        put(62, "r", ["w", "two#2"], 7, 612);
        put(70, "a", ["w", "either"], 7, 5);
        put(71, "b", ["w", "either"], 7, 5);
        put(72, "r", ["w", "either#2"], 7, 5);
        let plain = "UPDATE attempt SET sum = NULL, output = NULL WHERE job IN (70, 71)";
        conn.execute(plain, []).unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let sql = "SELECT id, answer_to FROM job WHERE answer_to <> 0 ORDER BY id";
        let mut statement = conn.prepare(sql).unwrap();
        let known = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let known: Vec<(u32, u32)> = known.map(Result::unwrap).collect();
        assert_eq!(known, [(21, 20), (22, 20), (31, 30), (62, 61)]);
        assert_eq!(definitions(&conn).unwrap(), definitions_of(VERSION).unwrap());
        let whole: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }

    #[test]
    fn what_was_requeued_before_and_no_message_is_left_of_is_sent_again() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &MIGRATIONS[..9]).unwrap();
        // Of RabbitMQ: lost, with its message, done. Of the embedded queue: requeued.
        for (id, queue, state, owner) in [
            (1, "far", "ready", None),
            (2, "far", "ready", None),
            (3, "far", "stop", None),
            (4, "near", "ready", Some(7)),
        ] {
            let job =
                "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
                    wary, lease, tries, answered, submitted_at, changed_at, owner)
                    VALUES (?1, ?2, 'w', ?1, 1, 0, ?3, 0, 0, 0, 1, 1, 0, 1, 1, ?4)";
            conn.execute(job, (id, queue, state, owner)).unwrap();
        }
        conn.execute("INSERT INTO owed VALUES (2)", []).unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(one("SELECT group_concat(queue) FROM remote"), "far");
        assert_eq!(one("SELECT group_concat(job || ' ' || has_message) FROM again"), "1 0");
        assert_eq!(definitions(&conn).unwrap(), definitions_of(VERSION).unwrap());
    }

    #[test]
    fn no_change_of_an_item_makes_a_table_or_sorts() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        for change in [
            "INSERT INTO job DEFAULT VALUES",
            "UPDATE job SET state = ?1, holder = ?2, due = ?3, due_at = ?3 WHERE id = ?4",
            "INSERT INTO attempt DEFAULT VALUES",
            "UPDATE attempt SET how = ?1, ended_at = ?2, sum = ?3, output = ?4 WHERE id = ?5",
            crate::change::ACTIVE_LABELS,
        ] {
            let mut plan = conn.prepare(&format!("EXPLAIN {change}")).unwrap();
            let mut steps = plan.raw_query();
            while let Some(step) = steps.next().unwrap() {
                let step: String = step.get(1).unwrap();
                assert!(step != "OpenEphemeral" && step != "SorterOpen", "{step} in {change}");
            }
        }
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        assert_eq!(version(&conn), VERSION + 1);
    }
}
