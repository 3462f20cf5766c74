//! Older stores become newer ones.

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
        let moved: u32 = conn.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap();
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
    let rows = "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
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
    let sql = "SELECT name || ' ' || state || ' ' || fault || ' ' || ifnull(due, '-') FROM request
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
fn of_what_waited_for_a_key_before_the_first_of_each_line_is_in_front() {
    let mut conn = Connection::open_in_memory().unwrap();
    migrate(&mut conn, &MIGRATIONS[..11]).unwrap();
    conn.execute("INSERT INTO label VALUES (2, 'l', 0, 1, 1)", []).unwrap();
    // Keyless; a line with a late one of a higher priority, in hand, resting and done; its like elsewhere.
    for (id, place, key, state, [holder, due]) in [
        (1, ("q", 1, 0), None, "ready", [None, None]),
        (2, ("q", 1, 0), None, "ready", [None, None]),
        (3, ("q", 1, 9), Some("k"), "ready", [Some(1), None]),
        (4, ("q", 1, 9), Some("k"), "ready", [None, Some(1)]),
        (5, ("q", 1, 9), Some("k"), "stop", [None, None]),
        (6, ("q", 1, 0), Some("k"), "ready", [None, None]),
        (7, ("q", 1, 5), Some("k"), "ready", [None, None]),
        (8, ("q", 1, 5), Some("k"), "ready", [None, None]),
        (9, ("q", 2, 0), Some("k"), "ready", [None, None]),
        (10, ("r", 1, 0), Some("k"), "ready", [None, None]),
        (11, ("q", 1, 0), Some("l"), "ready", [None, None]),
        (12, ("q", 1, 0), Some("l"), "ready", [None, None]),
    ] {
        let (queue, label, priority) = place;
        let job =
            "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
                wary, lease, tries, answered, submitted_at, changed_at, key, holder, due, due_at)
                VALUES (?1, ?2, 'w', ?1, ?3, ?4, ?5, 0, 0, 0, 1, 1, 0, 1, 1, ?6, ?7, ?8, ?8)";
        let values = rusqlite::params![id, queue, label, priority, state, key, holder, due];
        conn.execute(job, values).unwrap();
    }
    migrate(&mut conn, MIGRATIONS).unwrap();
    let behind = "SELECT group_concat(id) FROM job WHERE behind IS NOT NULL";
    let behind: String = conn.query_row(behind, [], |row| row.get(0)).unwrap();
    assert_eq!(behind, "6,8,12");
    assert_eq!(definitions(&conn).unwrap(), definitions_of(VERSION).unwrap());
    let whole: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
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
        crate::change::FRONTS,
        crate::change::OF_LINE,
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
