//! Long work of a BMC (Source: DMTF DSP0266, "Asynchronous operations"; DSP0268, `Task`).

use http::Method;
use net::http::Response;
use serde_json::Value;

use super::Redfish;
use super::connection::path_of;
use crate::bmc::BmcError;

/// Most tasks that are looked through.
const TASKS: usize = 64;

/// How a task stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TaskState {
    /// It goes on; what it says.
    Running(String),
    /// It waits for the machine to start again; what it says.
    NeedsStart(String),
    /// It ended well.
    Done,
    /// It ended badly; why.
    Failed(String),
    /// The BMC does not know it any more: it ended, how is not known.
    Gone,
}

/// Where the work that an answer began is watched; `None` if it is done with the answer.
pub(super) fn monitor(answer: &Response) -> Option<String> {
    let location = answer.headers.get("location").and_then(|it| it.to_str().ok()).map(|it| path_of(it).to_owned());
    let body: Value = answer.json().unwrap_or_default();
    let is_task = body["@odata.type"].as_str().is_some_and(|it| it.starts_with("#Task."));
    let own = || body["@odata.id"].as_str().map(str::to_owned);
    let task_monitor = || body["TaskMonitor"].as_str().map(|it| path_of(it).to_owned());
    match answer.status {
        // The task itself tells more than its monitor.
        _ if is_task => own().or(location).or_else(task_monitor),
        202 => location,
        // Dell answers 200 and 201 with the job's address.
        200 | 201 => location.filter(|it| it.contains("/Tasks/") || it.contains("/TaskMonitors/") || it.contains("/Jobs/")),
        _ => None,
    }
}

/// How the task in `body` stands.
pub(super) fn state_of(body: &Value) -> TaskState {
    let messages: Vec<&str> = body["Messages"].as_array().into_iter().flatten().filter_map(|it| it["Message"].as_str()).take(5).collect();
    let percent = body["PercentComplete"].as_u64().map(|it| format!(" {it} %")).unwrap_or_default();
    let state = body["TaskState"].as_str().unwrap_or("Running");
    let said = if messages.is_empty() { format!("{state}{percent}") } else { format!("{state}{percent}: {}", messages.join("; ")) };
    let is_bad = matches!(body["TaskStatus"].as_str(), Some("Critical"));
    match state {
        "Completed" if is_bad => TaskState::Failed(said),
        "Completed" => TaskState::Done,
        "Killed" | "Exception" | "Cancelled" | "Cancelling" | "Interrupted" => TaskState::Failed(said),
        "Pending" | "Service" | "Starting" | "Suspended" => TaskState::NeedsStart(said),
        _ => TaskState::Running(said),
    }
}

impl Redfish {
    /// How the work at that address stands.
    ///
    /// # Errors
    /// See [`BmcError`]; whether it goes on is then unknown.
    pub(super) async fn task(&self, path: &str) -> Result<TaskState, BmcError> {
        let answer = self.conn.raw(Method::GET, path, None, &[]).await?;
        let body: Value = answer.json().unwrap_or_default();
        let is_task = body.get("TaskState").is_some();
        match answer.status {
            200..=299 if is_task => Ok(state_of(&body)),
            202 => Ok(TaskState::Running("accepted".into())),
            // A monitor gives the answer of the work itself once it is done.
            200..=299 => Ok(TaskState::Done),
            404 | 410 => Ok(TaskState::Gone),
            408 | 409 | 423 | 429 | 500..=599 | 401 | 403 => Err(self.conn.judged(&answer)),
            _ => Ok(TaskState::Failed(self.conn.words(&answer))),
        }
    }

    /// A task under way that was begun by a request to `target`: what a process that died before it wrote down the task's address
    /// left behind.
    pub(super) async fn task_of(&self, target: &str) -> Result<Option<String>, BmcError> {
        let root = self.conn.read(&self.conn.root.clone()).await?;
        let service = match root["Tasks"]["@odata.id"].as_str() {
            Some(path) => self.conn.maybe(path).await?.unwrap_or_default(),
            None => return Ok(None),
        };
        let Some(tasks) = service["Tasks"]["@odata.id"].as_str() else { return Ok(None) };
        let members = match self.conn.members(tasks).await {
            Ok(members) => members,
            Err(BmcError::Rejected { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The newest are last.
        for path in members.iter().rev().take(TASKS) {
            let Some(task) = self.conn.maybe(path).await? else { continue };
            let is_ours = task["Payload"]["TargetUri"].as_str().is_some_and(|it| path_of(it) == target);
            if is_ours && matches!(state_of(&task), TaskState::Running(_) | TaskState::NeedsStart(_)) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_end_well_badly_or_not_yet() {
        assert_eq!(state_of(&json!({"TaskState": "Completed", "TaskStatus": "OK"})), TaskState::Done);
        assert!(matches!(state_of(&json!({"TaskState": "Completed", "TaskStatus": "Critical"})), TaskState::Failed(_)));
        let failed = state_of(&json!({"TaskState": "Exception", "Messages": [{"Message": "the image is bad"}]}));
        assert_eq!(failed, TaskState::Failed("Exception: the image is bad".into()));
        assert!(matches!(state_of(&json!({"TaskState": "Pending"})), TaskState::NeedsStart(_)));
        assert_eq!(state_of(&json!({"TaskState": "Running", "PercentComplete": 7})), TaskState::Running("Running 7 %".into()));
    }

    #[test]
    fn the_monitor_is_found_where_bmcs_put_it() {
        let answer = |status, location: Option<&str>, body: Value| {
            let mut headers = HeaderMap::new();
            if let Some(location) = location {
                headers.insert("location", location.parse().unwrap());
            }
            Response { status, headers, body: serde_json::to_vec(&body).unwrap().into() }
        };
        assert_eq!(monitor(&answer(202, Some("https://bmc/tasks/1?x"), json!({}))).as_deref(), Some("/tasks/1?x"));
        let task = json!({"@odata.type": "#Task.v1_4_3.Task", "@odata.id": "/redfish/v1/TaskService/Tasks/42"});
        assert_eq!(monitor(&answer(202, Some("/taskmon/42"), task)).as_deref(), Some("/redfish/v1/TaskService/Tasks/42"));
        assert_eq!(monitor(&answer(201, Some("/redfish/v1/Systems/1/Storage/1/Volumes/2"), json!({}))), None);
        assert_eq!(monitor(&answer(204, None, json!({}))), None);
    }
}
