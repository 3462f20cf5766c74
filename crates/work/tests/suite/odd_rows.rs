//! Rows that are whole, and say what no change ever made them say: whoever reads them goes on, or says
//! which file it is.

use crate::damage::everything;
use crate::random::{Random, random_change};
use crate::support::{Moved, World, opened, place};
use rusqlite::Connection;
use rusqlite::types::Value;
use std::sync::Arc;
use work::{Applied, Ask, Change, Clock, Error, Place, Policy, Safety, Store, TakerId};

/// Those that mean something, those that nearly do, and the ends of what there is.
const NUMBERS: &[i64] = &[
    i64::MIN,
    i64::MIN + 1,
    -1,
    0,
    1,
    2,
    25,
    65_535,
    65_536,
    1 << 31,
    1 << 32,
    1 << 53,
    i64::MAX / 1000,
    i64::MAX - 1,
    i64::MAX,
];
const TEXTS: &[&str] = &[
    "",
    "hold",
    "new",
    "ready",
    "run",
    "cancelling",
    "stop",
    "STOP",
    "lost",
    "ended",
    "q",
    "w",
    "k",
    "a\0b",
    "é\u{202e}\n",
    "none",
];

/// What a value of this kind may be instead.
fn odd(random: &mut Random, kind: &str) -> Value {
    if random.below(6) == 0 {
        return Value::Null;
    }
    match kind {
        "INTEGER" if random.below(2) == 0 => Value::Integer(random.below(12) as i64),
        "INTEGER" => Value::Integer(NUMBERS[random.below(NUMBERS.len())]),
        "TEXT" if random.below(8) == 0 => Value::Text("x".repeat(random.below(70_000))),
        "TEXT" => Value::Text(TEXTS[random.below(TEXTS.len())].to_owned()),
        _ => Value::Blob(vec![0xff; random.below(5)]),
    }
}

/// Returns table and column of all that can be changed, and the column's kind.
fn columns(conn: &Connection) -> Vec<(String, String, String)> {
    let sql = "SELECT m.name, c.name, c.type FROM sqlite_schema m JOIN pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY 1, c.cid";
    let mut found = conn.prepare(sql).unwrap();
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Changes some values behind the store's back, whatever the tables say of them. Returns what it did.
fn make_odd(random: &mut Random, conn: &Connection) -> Vec<String> {
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    let columns = columns(conn);
    let mut done = Vec::new();
    for _ in 0..40 {
        let (table, column, kind) = &columns[random.below(columns.len())];
        let value = odd(random, kind);
        let count = format!("SELECT count(*) FROM {table}");
        let rows: i64 = conn.query_row(&count, [], |row| row.get(0)).unwrap();
        let at = random.below(rows.max(1) as usize);
        // By what it is now: not every table has numbers.
        let now = format!("SELECT {column} FROM {table} LIMIT 1 OFFSET {at}");
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {column} IS ({now})");
        // A name twice, or none where one must be, is refused by the tables.
        if conn.execute(&sql, [&value]).is_ok_and(|changed| changed > 0) {
            let mut value = format!("{value:?}");
            value.truncate(60);
            done.push(format!("{table}.{column} of row {at}: {value}"));
        }
        if done.len() > random.below(4) {
            break;
        }
    }
    done
}

/// A store with a past of several takers.
fn filled(random: &mut Random) -> World {
    let mut world = World::new();
    let takers = [world.taker, opened(&mut world.store, "q", Policy::default())];
    let mut leases = Vec::new();
    for _ in 0..150 {
        let change = random_change(random, &takers, &leases, 40);
        if let Ok(Applied::Taken(taken)) = world.store.apply(&change) {
            leases.push(taken.lease);
        }
    }
    world
}

/// Opens, reads, goes on with all sorts of changes, and takes what there is to an end.
fn use_it(random: &mut Random, at: &Place, clock: &Arc<Moved>, other: TakerId) -> Vec<Error> {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let mut said: Vec<_> = everything(at).err().map(Error::Trouble).into_iter().collect();
    let mut store = match Store::open(at, clock, Safety::Kill) {
        Ok(store) => store,
        Err(trouble) => return vec![Error::Trouble(trouble)],
    };
    let open = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let taker = match store.apply(&open) {
        Ok(Applied::Opened(taker)) => taker,
        Ok(other) => panic!("{other:?}"),
        Err(why) => return vec![why],
    };
    let mut leases = Vec::new();
    for n in 0..200 {
        let take = || Change::Take { taker, ask: Ask::Now, instance: "i".to_owned() };
        let change =
            if n % 4 == 0 { take() } else { random_change(random, &[taker, other], &leases, 40) };
        match store.apply(&change) {
            Ok(Applied::Taken(taken)) => leases.push(taken.lease),
            Ok(_) => {}
            Err(why) => said.push(why),
        }
    }
    said.extend(everything(at).err().map(Error::Trouble));
    said
}

#[test]
fn odd_values_in_rows_stop_no_program_and_every_error_names_the_file() {
    let tries = if std::env::var_os("SKYNET_LONG").is_some() { 3000 } else { 150 };
    let (mut refused, mut troubled) = (0, 0);
    for seed in 1..=tries {
        let mut random = Random(seed);
        let World { scratch, clock, mut store, taker } = filled(&mut random);
        let at = place(&scratch);
        // Whoever has it open goes on, too.
        let odd = make_odd(&mut random, &Connection::open(at.database()).unwrap());
        let context = format!("seed {seed}: {odd:?}");
        println!("{context}");
        let change = random_change(&mut random, &[taker], &[], 40);
        let mut said: Vec<_> = store.apply(&change).err().into_iter().collect();
        drop(store);
        said.extend(use_it(&mut random, &at, &clock, taker));
        for why in said {
            match &why {
                Error::Refused(_) => refused += 1,
                Error::Trouble(trouble) => {
                    troubled += 1;
                    let text = trouble.to_string();
                    assert!(text.contains("work.db"), "{context}: {text}");
                }
            }
        }
    }
    println!("{refused} refused, {troubled} not understood");
    assert!(troubled > 0, "nothing was odd");
}
