//! Each cell of the table, over HTTP.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::exceptions::EXCEPTIONS;
use crate::fixtures::{Cast, Cloud};
use crate::table::{Recorded, Row, Table, Target};
use crate::world::on_sqlite;

/// How many clouds the rows are dealt out to.
const CLOUDS: usize = 4;

/// Asks for one row as everybody, in the order of the table. What a success used up is made anew.
async fn ask(cloud: &mut Cloud<'_>, cast: &Cast, row: Row<'_>) -> Vec<(u16, String)> {
    let (operation, mut layers, mut answers) = (row.operation, HashMap::new(), Vec::new());
    for person in &cast.people {
        let beneath = cast.layer(person, row.target);
        let layer = match layers.get(&beneath) {
            Some(&layer) => layer,
            None if row.target == Target::Absent => beneath,
            None => cloud.over(beneath, &operation.fresh, &operation.before).await,
        };
        layers.insert(beneath, layer);
        let path = cloud.filled(layer, &operation.path).await;
        let body = match &operation.body {
            Some(body) => Some(cloud.filled(layer, &body.to_string()).await),
            None => None,
        };
        let mut headers = Vec::new();
        for (name, value) in &operation.headers {
            headers.push((name.as_str(), cloud.filled(layer, value).await));
        }
        let answer = cloud.ask(person.token.as_deref(), row.method, &path, body, &headers).await;
        if row.changes() && answer.status < 300 {
            layers.remove(&beneath);
        }
        answers.push((answer.status, answer.body["error"]["message"].as_str().unwrap_or_default().to_owned()));
    }
    answers
}

/// What may be answered, the second where it is told there is nothing: to somebody who would be refused if there were something, Keystone
/// mostly says 403 but in places 404, by how each of its handlers is written. 403 is as good there, and tells less.
fn right(recorded: &Recorded, row: Row<'_>, place: usize, persona: &str) -> (u16, Option<u16>) {
    let (name, status) = (row.name(), |name: &str| recorded.cells.get(name).map(|it| it[place]));
    let expected = status(&name).unwrap_or_else(|| panic!("{name} is not recorded: run record.py"));
    if let Some(exception) = EXCEPTIONS.iter().find(|it| it.row == name && it.persona == persona) {
        return (exception.status, None);
    }
    let others = [Target::Own, Target::Any, Target::Other].map(|target| status(&Row { target, ..row }.name()));
    let refused = row.target == Target::Absent && expected == 404 && others.contains(&Some(403));
    (expected, refused.then_some(403))
}

#[test]
fn everybody_may_do_what_it_may_at_keystone() {
    let (table, recorded) = (Table::load(), Recorded::load());
    let names: Vec<&str> = table.personas.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(recorded.personas, names, "recorded of others: run record.py");
    let rows: Vec<Row<'_>> = table.rows().collect();
    // These stand last: in each cloud its share of them comes after all else.
    assert!(rows.iter().rev().skip_while(|row| row.ends_personas()).all(|row| !row.ends_personas()));

    let differences = std::thread::scope(|scope| {
        let share = |number: usize| {
            let (table, recorded, rows) = (&table, &recorded, &rows);
            move || {
                let found = std::sync::Mutex::new(Vec::new());
                on_sqlite(async |world| {
                    let mut cloud = Cloud::start(world, table).await;
                    let cast = cloud.cast().await;
                    for (place, &row) in rows.iter().enumerate().skip(number).step_by(CLOUDS) {
                        let mut lines = String::new();
                        let answers = ask(&mut cloud, &cast, row).await;
                        for (person, (persona, (got, words))) in table.personas.iter().zip(answers).enumerate() {
                            let (wanted, or) = right(recorded, row, person, &persona.name);
                            if got != wanted && Some(got) != or {
                                let _ = write!(lines, "\n    {}: {got} and not {wanted} {words}", persona.name);
                            }
                        }
                        if !lines.is_empty() {
                            found.lock().unwrap().push((place, row.name() + &lines));
                        }
                    }
                });
                found.into_inner().unwrap()
            }
        };
        let shares: Vec<_> = (0..CLOUDS).map(|number| scope.spawn(share(number))).collect();
        let mut all: Vec<(usize, String)> = shares.into_iter().flat_map(|it| it.join().unwrap()).collect();
        all.sort();
        all
    });

    let told: Vec<String> = differences.into_iter().map(|(_, told)| told).collect();
    assert!(told.is_empty(), "{} of {} rows differ from Keystone:\n{}", told.len(), rows.len(), told.join("\n"));
}

#[test]
fn exceptions_are_of_cells_that_are_there_and_differ() {
    let (table, recorded) = (Table::load(), Recorded::load());
    for it in EXCEPTIONS {
        let place = table.personas.iter().position(|persona| persona.name == it.persona).unwrap();
        assert_ne!(recorded.cells[it.row][place], it.status, "{}", it.row);
        assert!(it.reason.len() > 20, "{}", it.row);
    }
}
