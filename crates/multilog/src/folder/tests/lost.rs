//! Somebody takes away what a folder writes into.

use super::*;

/// A look is due after each of these.
const NEXT: u64 = 10 * S;

#[test]
fn a_directory_that_is_removed_or_moved_is_made_anew() {
    for moved in [false, true] {
        let scratch = Scratch::new();
        let elsewhere = Scratch::new();
        let mut folder = scratch.open(small());
        write(&mut folder, b"before\n");
        if moved {
            fs::rename(&scratch.path, &elsewhere.path).unwrap();
        } else {
            fs::remove_dir_all(&scratch.path).unwrap();
        }
        check(&mut folder, NEXT);
        write(&mut folder, b"after\n");
        assert_eq!(scratch.content(), b"after\n");
        assert_eq!(scratch.mode(""), 0o700);
        assert_eq!(Folder::open(scratch.name, small()).err(), Some(111), "it is locked");
        if moved {
            assert_eq!(elsewhere.content(), b"before\n");
        }
        finish(folder);
    }
}

#[test]
fn a_directory_that_is_lost_in_a_rotation_is_made_anew_after_the_pause() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(Settings { processor: Some(c"cat"), ..small() });
    write(&mut folder, b"before\n");
    folder.rotate();
    fs::remove_dir_all(&scratch.path).unwrap();
    // A file of that name: no directory can be made.
    fs::write(&scratch.path, b"").unwrap();
    work(&mut folder, NEXT);
    assert!(!folder.is_ready());
    for n in 1..4 {
        work(&mut folder, NEXT + n * 5 * S);
        assert!(!folder.is_ready());
    }
    fs::remove_file(&scratch.path).unwrap();
    work(&mut folder, NEXT + 20 * S);
    write(&mut folder, b"after\n");
    assert_eq!(scratch.content(), b"after\n");
}

#[test]
fn a_current_that_is_removed_or_renamed_is_made_anew() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    write(&mut folder, b"before\n");
    let id = folder.id();
    fs::rename(scratch.path.join("current"), scratch.path.join("current.1")).unwrap();
    check(&mut folder, NEXT);
    write(&mut folder, b"after\n");
    assert_ne!(folder.id(), id);
    assert_eq!(scratch.read("current.1"), b"before\n");
    assert_eq!((scratch.content(), scratch.mode("current")), (b"after\n".to_vec(), OPEN));
    // Not more than once a second.
    fs::remove_file(scratch.path.join("current")).unwrap();
    check(&mut folder, NEXT + S - 1);
    assert!(!scratch.has("current"));
    check(&mut folder, NEXT + S);
    assert!(scratch.has("current"));
    // What somebody put there is gone on with.
    fs::remove_file(scratch.path.join("current")).unwrap();
    scratch.put("current", b"theirs\n", 0o600);
    folder.rotate();
    check(&mut folder, NEXT + 2 * S);
    write(&mut folder, b"ours\n");
    assert_eq!((scratch.content(), scratch.mode("current")), (b"theirs\nours\n".to_vec(), OPEN));
}

#[test]
fn a_current_that_vanishes_before_its_rotation_is_made_anew_and_not_rotated() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    write(&mut folder, b"before\n");
    fs::remove_file(scratch.path.join("current")).unwrap();
    folder.rotate();
    work(&mut folder, NEXT);
    assert!(folder.is_ready() && scratch.rotated().is_empty());
    assert_eq!(scratch.read("current"), b"");
}

#[test]
fn a_current_that_is_cut_gets_the_next_line_at_its_end() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    write(&mut folder, b"before\n");
    fs::File::options().write(true).open(scratch.path.join("current")).unwrap().set_len(0).unwrap();
    check(&mut folder, NEXT);
    assert_eq!(folder.len(), 0);
    write(&mut folder, b"after\n");
    assert_eq!(scratch.content(), b"after\n");
    // Longer than we left it: somebody added to it.
    fs::write(scratch.path.join("current"), b"after\ntheirs\n").unwrap();
    check(&mut folder, NEXT + S);
    write(&mut folder, b"ours\n");
    assert_eq!(scratch.content(), b"after\ntheirs\nours\n");
}

#[test]
fn a_look_rotates_nothing_before_the_caller_could_note_where_it_was() {
    // Holed, full, lost: each is left only by the work that follows.
    for what in 0..3 {
        let scratch = Scratch::new();
        let mut folder = scratch.open(Settings { size: 1 << 20, ..small() });
        write(&mut folder, &[b'x'; 16_384]);
        let file = fs::File::options().write(true).open(scratch.path.join("current")).unwrap();
        match what {
            0 => {
                file.set_len(0).unwrap();
                write(&mut folder, b"behind the hole\n");
            }
            1 => file.set_len(1 << 20).unwrap(),
            _ => fs::remove_file(scratch.path.join("current")).unwrap(),
        }
        let id = folder.id();
        folder.check(NEXT);
        assert!(!folder.is_ready() && scratch.rotated().is_empty(), "{what}");
        assert_eq!((folder.id(), scratch.has("current")), (id, what < 2));
        work(&mut folder, NEXT);
        assert_ne!((folder.is_ready(), folder.id()), (true, id), "{what}");
        assert_eq!(scratch.rotated().len(), usize::from(what < 2));
    }
}

#[test]
fn a_current_that_was_cut_while_bytes_went_on_arriving_is_closed() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(Settings { size: 1 << 20, ..small() });
    let page = [b'x'; 16_384];
    write(&mut folder, &page);
    fs::File::options().write(true).open(scratch.path.join("current")).unwrap().set_len(0).unwrap();
    write(&mut folder, b"behind the hole\n");
    check(&mut folder, NEXT);
    assert_eq!((scratch.rotated().len(), folder.len()), (1, 0));
    assert!(scratch.read(&scratch.rotated()[0]).ends_with(b"\0behind the hole\n"));
    write(&mut folder, b"after\n");
    assert_eq!(scratch.read("current"), b"after\n");
}
