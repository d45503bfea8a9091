//! The set of rules in force.

use std::collections::{BTreeMap, HashMap};

use crate::check::Rules;
use crate::plan::{Plan, Ready};
use crate::{Check, Credentials, Denied, Explanation, PolicyError, Rule, Scope, Step, Target, Why, file, parse};

/// How deep checks may be nested, those of other rules that a rule refers to included. Bounds the stack.
const MAX_DEPTH: usize = 512;
/// How many checks a rule may have, those of other rules included as often as they are referred to. Bounds the time.
const MAX_WEIGHT: u64 = 100_000;

/// A set of parsed rules, which never changes.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    rules: BTreeMap<String, Loaded>,
    /// The same as they are asked.
    ready: Vec<Ready>,
    /// Where in that list each is.
    places: HashMap<String, usize>,
    unscoped: Option<Scope>,
}

/// What is known about a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// The check in force, in the rule language.
    pub check: String,
    /// The check as declared; none for a rule that only the file has.
    pub default: Option<&'static str>,
    /// Whether the check in force is that of the file.
    pub is_overridden: bool,
    /// The scopes a token may have; empty accepts every token.
    pub scopes: &'static [Scope],
    /// What it guards, in a sentence.
    pub about: &'static str,
    /// The calls it guards: method and path.
    pub operations: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Debug)]
struct Loaded {
    info: RuleInfo,
    check: Check,
    /// The line of the file the check is from.
    line: Option<u64>,
}

impl Rules for Engine {
    fn check(&self, name: &str) -> Option<&Check> {
        self.rules.get(name).map(|rule| &rule.check)
    }
}

impl Engine {
    /// Parses declared rules.
    ///
    /// # Errors
    /// A rule that cannot be parsed, is declared twice, refers to one that does not exist or, through others, to itself.
    pub fn new(tables: &[&'static [Rule]]) -> Result<Self, PolicyError> {
        let mut rules = BTreeMap::new();
        for rule in tables.iter().copied().flatten() {
            let check = parse(rule.check).map_err(|source| PolicyError::Rule { rule: rule.name.to_owned(), line: None, source })?;
            let info = RuleInfo {
                name: rule.name.to_owned(),
                check: rule.check.to_owned(),
                default: Some(rule.check),
                is_overridden: false,
                scopes: rule.scopes,
                about: rule.about,
                operations: rule.operations,
            };
            if rules.insert(rule.name.to_owned(), Loaded { info, check, line: None }).is_some() {
                return Err(PolicyError::Twice(rule.name.to_owned()));
            }
        }
        Self { rules, ..Self::default() }.verified()
    }

    /// The same engine with the rules of a `policy.yaml` in place of its own. They keep scopes, description and
    /// operations. Names that are not declared become rules that others may refer to.
    ///
    /// # Errors
    /// Text that is not YAML, is too large, or has a rule that [`Engine::new`] would refuse; the error names line and
    /// rule.
    pub fn with_file(&self, yaml: &str) -> Result<Self, PolicyError> {
        let mut engine = self.clone();
        for file::Entry { name, line, check } in file::read(yaml)? {
            let text = check.to_string();
            let line = Some(line);
            match engine.rules.get_mut(&name) {
                Some(rule) => {
                    rule.info.check = text;
                    rule.info.is_overridden = true;
                    rule.check = check;
                    rule.line = line;
                }
                None => {
                    let info = RuleInfo {
                        name: name.clone(),
                        check: text,
                        default: None,
                        is_overridden: true,
                        scopes: &[],
                        about: "",
                        operations: &[],
                    };
                    engine.rules.insert(name, Loaded { info, check, line });
                }
            }
        }
        engine.verified()
    }

    /// The same engine, in which a token without scope counts as one of `scope`; as made it counts as none, and rules
    /// with scopes refuse it. oslo.policy takes it for one of a project (`Enforcer._enforce_scope`).
    #[must_use]
    pub fn with_unscoped(mut self, scope: Option<Scope>) -> Self {
        self.unscoped = scope;
        self
    }

    /// Whether `who` may do to `target` what `rule` guards. The scope is asked first; a rule that does not exist refuses.
    pub fn allows(&self, rule: &str, who: &Credentials, target: &Target) -> bool {
        self.asked(rule, who, Some(target)) == Some(true)
    }

    /// What [`Engine::allows`] answers for every target whatever; none if that depends on the target. So a rule can be asked once for many.
    ///
    /// None may be said too often, of rules whose parts cancel each other out; it is never said of one that does not look at the target.
    pub fn settled(&self, rule: &str, who: &Credentials) -> Option<bool> {
        self.asked(rule, who, None)
    }

    /// As [`Engine::allows`], with a reason.
    ///
    /// # Errors
    /// The refusal.
    pub fn enforce(&self, rule: &str, who: &Credentials, target: &Target) -> Result<(), Denied> {
        let why = match self.rules.get(rule) {
            _ if self.allows(rule, who, target) => return Ok(()),
            Some(found) if !self.accepts(found.info.scopes, who) => Why::Scope { needs: found.info.scopes, has: who.scope() },
            _ => Why::Check,
        };
        Err(Denied { rule: rule.to_owned(), why })
    }

    /// Every check of `rule` with its answer.
    pub fn explain(&self, rule: &str, who: &Credentials, target: &Target) -> Explanation {
        let found = self.rules.get(rule);
        Explanation {
            rule: rule.to_owned(),
            allowed: self.allows(rule, who, target),
            scope: found
                .filter(|found| !self.accepts(found.info.scopes, who))
                .map(|found| Why::Scope { needs: found.info.scopes, has: who.scope() }),
            has: who.scope(),
            step: found.map(|found| Step::of(&found.check, self, who, target)),
        }
    }

    /// The rules, by name.
    pub fn rules(&self) -> impl Iterator<Item = &RuleInfo> {
        self.rules.values().map(|rule| &rule.info)
    }

    fn asked(&self, rule: &str, who: &Credentials, target: Option<&Target>) -> Option<bool> {
        match self.places.get(rule).and_then(|place| self.ready.get(*place)) {
            Some(rule) if self.accepts(rule.scopes, who) => rule.plan.answer(&self.ready, who, target),
            _ => Some(false),
        }
    }

    fn accepts(&self, scopes: &[Scope], who: &Credentials) -> bool {
        scopes.is_empty() || who.scope().or(self.unscoped).is_some_and(|scope| scopes.contains(&scope))
    }

    /// Follows every reference once, so that asking a rule ends, soon, and with a bounded stack; then makes the rules ready to be asked.
    fn verified(mut self) -> Result<Self, PolicyError> {
        let mut sizes = BTreeMap::new();
        let mut path = Vec::new();
        for name in self.rules.keys() {
            self.measure(name, 0, &mut path, &mut sizes)?;
        }
        self.places = self.rules.keys().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        let ready = |rule: &Loaded| Ready { scopes: rule.info.scopes, plan: Plan::of(&rule.check, &self.places) };
        self.ready = self.rules.values().map(ready).collect();
        Ok(self)
    }

    fn measure<'a>(
        &'a self,
        name: &'a str,
        depth: usize,
        path: &mut Vec<&'a str>,
        sizes: &mut BTreeMap<&'a str, Size>,
    ) -> Result<Size, PolicyError> {
        if let Some(size) = sizes.get(name) {
            return Ok(*size);
        }
        if let Some(start) = path.iter().position(|on_path| *on_path == name) {
            let circle = path.iter().skip(start).chain([&name]).map(|name| (*name).to_owned()).collect();
            return Err(PolicyError::Cycle(circle));
        }
        let Some(rule) = self.rules.get(name) else {
            let by = path.last().copied().unwrap_or_default();
            let line = self.rules.get(by).and_then(|rule| rule.line);
            return Err(PolicyError::Undefined { rule: by.to_owned(), line, missing: name.to_owned() });
        };
        path.push(name);
        let size = self.measure_check(&rule.check, depth + 1, path, sizes)?;
        path.pop();
        if size.depth > MAX_DEPTH {
            return Err(PolicyError::Deep { rule: name.to_owned(), limit: MAX_DEPTH });
        }
        if size.weight > MAX_WEIGHT {
            return Err(PolicyError::Heavy { rule: name.to_owned(), limit: MAX_WEIGHT });
        }
        sizes.insert(name, size);
        Ok(size)
    }

    fn measure_check<'a>(
        &'a self,
        check: &'a Check,
        depth: usize,
        path: &mut Vec<&'a str>,
        sizes: &mut BTreeMap<&'a str, Size>,
    ) -> Result<Size, PolicyError> {
        if depth > MAX_DEPTH {
            return Err(PolicyError::Deep { rule: path.first().copied().unwrap_or_default().to_owned(), limit: MAX_DEPTH });
        }
        let mut size = Size { depth: 1, weight: 1 };
        if let Check::Rule(name) = check {
            size.add(self.measure(name, depth, path, sizes)?);
        }
        for check in check.inside() {
            size.add(self.measure_check(check, depth + 1, path, sizes)?);
        }
        Ok(size)
    }
}

#[derive(Clone, Copy)]
struct Size {
    depth: usize,
    weight: u64,
}

impl Size {
    fn add(&mut self, inside: Self) {
        self.depth = self.depth.max(inside.depth.saturating_add(1));
        self.weight = self.weight.saturating_add(inside.weight);
    }
}

#[cfg(test)]
mod tests;
