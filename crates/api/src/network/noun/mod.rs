//! Nouns: the things of the network service. A noun says once what it is called, what its fields are ([`Form`]), what it needs beside
//! itself, and what is special when one is made, changed or removed; listing, showing, bodies, rules, sharing, quotas, tags, revision
//! numbers and races are the same for all and here.

mod form;
mod list;
mod routes;
mod share;
mod sight;
mod tags;
mod work;

use std::future::Future;

use model::identity::Project;
use model::{Id, Kind, Object};
use policy::Target;
use serde_json::{Map, Value};
use store::{Query, Term};

pub(crate) use form::{Field, Form, Get, field, input_once};
pub(crate) use routes::{Nested, nested_routes, routes, tagged_routes};
pub(crate) use share::{EPOCH as SHARES_EPOCH, Remembered, Shares, shared_to};
pub(crate) use sight::Sight;
pub(crate) use tags::read as read_tags;
pub(crate) use work::Work;

use form::Verb;

use super::Ask;
use super::policies::of_project;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::equals;

/// A body's object.
pub(crate) type Body = Map<String, Value>;

/// A thing of the network service.
pub(crate) trait Noun: Kind {
    /// What showing it and asking rules about it takes beside the object itself, for many objects at once: its network, its parts.
    type Around: Default + Send + Sync;

    /// Of a thing inside another: the column with the other's id.
    const PARENT: Option<&'static str> = None;

    /// What it is called and what its fields are. A `static` of the noun's file: `LazyLock<Form<Self>>`.
    fn form() -> &'static Form<Self>;

    /// What is wanted of one when nothing is said.
    ///
    /// # Errors
    /// There cannot be one for this caller.
    fn blank(ask: &Ask, project: Option<&Id<Project>>) -> Result<Self::Desired, Failure>;

    /// Reads what is needed beside these objects. Of a thing inside another the other is here too.
    fn around(ask: &Ask, objects: &[Object<Self>]) -> impl Future<Output = Result<Self::Around, Failure>> + Send {
        let _ = (ask, objects);
        async { Ok(Self::Around::default()) }
    }

    /// What rules see of one. For kinds that can be shared: with `shared`, by [`shared_to`].
    fn target(object: &Object<Self>, around: &Self::Around) -> Target {
        let _ = around;
        of_project(object.project_id.as_ref())
    }

    /// Which there are in a list beside the caller's own and those shared with it: for callers whom the rule lets see some only. What is
    /// found is put to the rule all the same: this narrows what is read.
    fn seen(ask: &Ask) -> impl Future<Output = Result<Vec<Term>, Failure>> + Send {
        let _ = ask;
        async { Ok(Vec::new()) }
    }

    /// Before a list: what comes into being by being looked for.
    fn before_list(ask: &Ask) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = ask;
        async { Ok(()) }
    }

    /// Whether a field that is shown as `has` is one of those `wanted` by a filter.
    fn fits(name: &str, has: &Value, wanted: &[String]) -> bool {
        let _ = name;
        wanted.iter().any(|wanted| equals(has, wanted))
    }

    /// Has the store find fewer, for a filter that is no column or link: what is found is put to [`Noun::fits`] all the same.
    fn narrow(query: Query<Self>, name: &str, wanted: &[String]) -> Query<Self> {
        let _ = (name, wanted);
        query
    }

    /// Before rules are asked about a new one: what it names must be there (`NotFound` of the other thing). By default what
    /// [`Noun::around`] finds will do.
    fn admit(work: &mut Work<'_>, object: &mut Object<Self>, body: &Body) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (work, object, body);
        async { Ok(()) }
    }

    /// What else belongs to making one, which is filled from its body: checks against others, allocations, more objects. May change it. It
    /// is stored, and counted for its quota, by the caller.
    fn create(work: &mut Work<'_>, object: &mut Object<Self>, body: &Body) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (work, object, body);
        async { Ok(()) }
    }

    /// What else belongs to changing one from `before`. May change `after`, which is stored by the caller if it differs.
    fn update(
        work: &mut Work<'_>,
        before: &Object<Self>,
        after: &mut Object<Self>,
        body: &Body,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (work, before, after, body);
        async { Ok(()) }
    }

    /// Removes one: all steps, also its own.
    fn delete(work: &mut Work<'_>, object: &Object<Self>) -> impl Future<Output = Result<(), Failure>> + Send {
        work.step(|batch| batch.remove(object));
        async { Ok(()) }
    }

    /// More rules that a body asks for than those of its fields: of members of a field, such as `create_port:fixed_ips:ip_address`.
    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let _ = (verb, body);
        Vec::new()
    }
}

/// The thing of that id, if the caller sees it.
///
/// # Errors
/// There is none for the caller.
pub(crate) async fn find<K: Noun>(ask: &Ask, id: &str) -> Result<(Object<K>, K::Around), Failure> {
    let missing = || K::form().missing(id);
    let parsed = Id::parse(id).ok_or_else(missing)?;
    let object: Object<K> = ask.app.store.get(&parsed).await?.filter(|it: &Object<K>| !it.is_deleting()).ok_or_else(missing)?;
    let around = K::around(ask, std::slice::from_ref(&object)).await?;
    let sight = Sight::<K>::of(ask);
    if sight.sees(|| K::target(&object, &around)) && ask.is_inside(&object) { Ok((object, around)) } else { Err(missing()) }
}

/// Whether the caller sees the thing of that id: for things that name others.
///
/// # Errors
/// There is none for the caller.
pub(crate) async fn named<K: Noun>(ask: &Ask, id: &Id<K>) -> Result<Object<K>, Failure> {
    let missing = || K::form().missing(id.as_str());
    let object: Object<K> = ask.app.store.get(id).await?.filter(|it: &Object<K>| !it.is_deleting()).ok_or_else(missing)?;
    let around = K::around(ask, std::slice::from_ref(&object)).await?;
    if Sight::<K>::of(ask).sees(|| K::target(&object, &around)) { Ok(object) } else { Err(missing()) }
}

/// One as JSON text below its root.
fn one_shown<K: Noun>(ask: &Ask, object: &Object<K>, around: &K::Around, root: &str) -> Vec<u8> {
    let mut out = format!("{{\"{root}\":").into_bytes();
    K::form().render(&mut out, object, around, &Sight::of(ask), &ask.parameters.fields());
    out.push(b'}');
    out
}

/// One as a value, with all fields that the caller may see.
pub(crate) fn value_of<K: Noun>(ask: &Ask, object: &Object<K>, around: &K::Around) -> Value {
    let mut out = Vec::new();
    K::form().render(&mut out, object, around, &Sight::of(ask), &[]);
    serde_json::from_slice(&out).unwrap_or_default()
}

/// Several as JSON text below their root.
fn many_shown<K: Noun>(ask: &Ask, objects: &[Object<K>], around: &K::Around, links: &[Value]) -> Vec<u8> {
    let form = K::form();
    let (sight, only) = (Sight::of(ask), ask.parameters.fields());
    let mut out = Vec::with_capacity(64 + objects.len() * if only.is_empty() { 1024 } else { 64 * only.len() });
    out.extend_from_slice(format!("{{\"{}\":[", form.plural).as_bytes());
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        form.render(&mut out, object, around, &sight, &only);
    }
    out.push(b']');
    if !links.is_empty() {
        out.extend_from_slice(format!(",\"{}_links\":{}", form.plural, Value::from(links.to_vec())).as_bytes());
    }
    out.push(b'}');
    out
}

/// Makes what the bodies say, all or none.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) async fn create<K: Noun>(ask: &Ask, bodies: &[Body]) -> Result<Vec<Object<K>>, Failure> {
    let mut made = Vec::with_capacity(bodies.len());
    for tries in 0.. {
        let mut work = Work::new(ask, tries);
        made.clear();
        for (at, body) in bodies.iter().enumerate() {
            work.left = bodies.len() - at;
            let object = prepare::<K>(&mut work, body).await?;
            work.create(&object);
            made.push(object);
        }
        if work.apply().await? {
            break;
        }
    }
    Ok(made)
}

/// A new object as its body has it, checked and allowed; the work has all that belongs to it but the object itself.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn prepare<K: Noun>(work: &mut Work<'_>, body: &Body) -> Result<Object<K>, Failure> {
    let form = K::form();
    let ask = work.ask;
    let mut body = body.clone();
    let project = super::owner(ask, &mut body)?;
    let mut object = Object::new(Id::random(), Some(project), "", K::blank(ask, ask.caller.project_id.as_ref())?);
    if !form.owned {
        object.project_id = None;
    }
    let rules = form.write(ask, &mut object, &body, Verb::Create)?;
    K::admit(work, &mut object, &body).await?;
    let around = K::around(ask, std::slice::from_ref(&object)).await?;
    let target = K::target(&object, &around);
    enforce(&ask.app, &ask.caller, &format!("create_{}", form.rule), &target)?;
    for rule in rules.iter().map(ToString::to_string).chain(K::rules("create", &body)) {
        enforce(&ask.app, &ask.caller, &rule, &target)?;
    }
    K::create(work, &mut object, &body).await?;
    work.count(&object).await?;
    Ok(object)
}

/// Changes the thing of that id as the body says, and returns it as it is then.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn update<K: Noun>(ask: &Ask, id: &str, body: &Body) -> Result<(Object<K>, K::Around), Failure> {
    let form = K::form();
    form.check_changes(body)?;
    for tries in 0.. {
        let (before, around) = find::<K>(ask, id).await?;
        ask.check_revision(&before)?;
        let mut after = before.clone();
        let rules = form.write(ask, &mut after, body, Verb::Change)?;
        let target = K::target(&after, &around);
        enforce(&ask.app, &ask.caller, &format!("update_{}", form.rule), &target)?;
        for rule in rules.iter().map(ToString::to_string).chain(K::rules("update", body)) {
            enforce(&ask.app, &ask.caller, &rule, &target)?;
        }
        let mut work = Work::new(ask, tries);
        K::update(&mut work, &before, &mut after, body).await?;
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    find::<K>(ask, id).await
}

/// Removes the thing of that id.
///
/// # Errors
/// It cannot be removed.
pub(crate) async fn delete<K: Noun>(ask: &Ask, id: &str) -> Result<(), Failure> {
    for tries in 0.. {
        let object = permitted::<K>(ask, id, &format!("delete_{}", K::form().rule)).await?;
        let mut work = Work::new(ask, tries);
        K::delete(&mut work, &object).await?;
        if work.apply().await? {
            break;
        }
    }
    Ok(())
}

/// The thing of that id, if the caller sees it, the rule lets it and the request does not ask for another revision.
///
/// # Errors
/// There is none for the caller; it may not; the revision is another.
pub(crate) async fn permitted<K: Noun>(ask: &Ask, id: &str, rule: &str) -> Result<Object<K>, Failure> {
    let (object, around) = find::<K>(ask, id).await?;
    enforce(&ask.app, &ask.caller, rule, &K::target(&object, &around))?;
    ask.check_revision(&object)?;
    Ok(object)
}
