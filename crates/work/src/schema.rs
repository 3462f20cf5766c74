//! The tables, and how older ones become these.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as a store of skynet: "skyn".
pub(crate) const APPLICATION: u32 = 0x736b_796e;

/// Each step leads from the version of its index to the next. Steps are only ever added.
pub(crate) const MIGRATIONS: &[&str] =
    &[FIRST, PAST, ACTS, DROPS, OWED, BOUNDS, STAGES, WHOLE, ANSWERS, AGAIN, KEYS, LINES, ERRORS];

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

/// What waits for a key is found however much of it has stopped.
const KEYS: &str = "
DROP INDEX job_key;
CREATE INDEX job_key ON job (key, queue) WHERE key IS NOT NULL AND state = 'ready';
";

/// What waits for a key stands in line: of those that could be taken of a label of a queue the first, and
/// all others are `behind` it. A column alone: what is read by the same index is read in stores of before.
const LINES: &str = "
ALTER TABLE job ADD COLUMN behind INTEGER;
DROP INDEX job_key;
CREATE INDEX job_key ON job (key, queue, label, due, priority DESC, id)
    WHERE key IS NOT NULL AND state = 'ready';
DROP INDEX job_ready;
UPDATE job SET behind = 1 WHERE key IS NOT NULL AND state = 'ready' AND holder IS NULL AND due IS NULL
    AND id <> (SELECT id FROM job front
        WHERE front.key = job.key AND front.queue = job.queue AND front.label = job.label
            AND front.state = 'ready' AND front.holder IS NULL AND front.due IS NULL
        ORDER BY front.priority DESC, front.id LIMIT 1);
CREATE INDEX job_ready ON job (queue, label, behind, priority DESC, id)
    WHERE state = 'ready' AND holder IS NULL AND due IS NULL;
";

/// Which class an error has that is made here for a job of a queue, as whoever took from that last says:
/// it is made by whatever process finds a taker dead, whose own configuration says nothing of it.
const ERRORS: &str = "
CREATE TABLE error_class (
    queue TEXT PRIMARY KEY,
    class TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
mod tests;
