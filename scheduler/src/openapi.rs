//! The OpenAPI document of the API, version 1, with the schemas of what is asked and answered.

use crate::accounting::Past;
use crate::api::{Because, Submission, Which};
use crate::listing::{HostRow, JobDetail, JobRow, Streams, WhyRow};
use crate::network::clients::ClientRow;
use crate::network::wire::{Invitation, Wanted};
use crate::programs::Kept;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Names a type among the document's schemas.
type Naming = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What can be asked for.
struct Route {
    method: &'static str,
    path: &'static str,
    what: &'static str,
    /// What is asked with it.
    body: Option<Naming>,
    answer: Naming,
}

/// A job was taken.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is described here, and written by its handler")]
struct Accepted {
    /// Its number.
    job: u32,
}

/// What is answered as it is, and not as JSON.
struct Bytes;

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        BYTES.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "binary" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The type of such an answer.
const BYTES: &str = "application/octet-stream";

const ROUTES: [Route; 30] = [
    Route {
        method: "get",
        path: "/v1/pool",
        what: "What the pool is: version, state directory, counts",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/pool/down",
        what: "End the pool; what runs goes on until its agents' lease ends",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "get",
        path: "/v1/jobs",
        what: "Jobs that are not over; with all=true, all that are remembered",
        body: None,
        answer: of::<Vec<JobRow>>,
    },
    Route {
        method: "post",
        path: "/v1/jobs",
        what: "Submit a job: a jobspec and what it runs; answered when it is on disk",
        body: Some(of::<Submission>),
        answer: of::<Accepted>,
    },
    Route {
        method: "get",
        path: "/v1/programs/{program}",
        what: "Whether the pool has a user's program, named by its BLAKE3 hash in hexadecimal, for jobs of kernels",
        body: None,
        answer: of::<Kept>,
    },
    Route {
        method: "put",
        path: "/v1/programs/{program}",
        what: "Have the pool keep a user's program: a job that is submitted within five minutes may name it",
        body: Some(of::<Bytes>),
        answer: of::<Kept>,
    },
    Route {
        method: "get",
        path: "/v1/jobs/{job}",
        what: "Everything about a job",
        body: None,
        answer: of::<JobDetail>,
    },
    Route {
        method: "get",
        path: "/v1/jobs/{job}/why",
        what: "Why a job waits, with every reason and the start that is foretold",
        body: None,
        answer: of::<Vec<WhyRow>>,
    },
    Route {
        method: "get",
        path: "/v1/jobs/{job}/over",
        what: "Answered when the job is over, with its attempts; with none when it is not within within_s=SECONDS",
        body: None,
        answer: of::<Vec<Past>>,
    },
    Route {
        method: "get",
        path: "/v1/jobs/{job}/streams",
        what: "Where a job's output is: element=N for one of an array",
        body: None,
        answer: of::<Streams>,
    },
    Route {
        method: "get",
        path: "/v1/jobs/{job}/output",
        what: "What a job has written, as bytes, wherever it ran: element=N, error=true, from=BYTE; the header muster-over says \
         whether that is all",
        body: None,
        answer: of::<Bytes>,
    },
    Route {
        method: "post",
        path: "/v1/jobs/{job}/cancel",
        what: "Cancel a job, or elements of it",
        body: Some(of::<Which>),
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/jobs/{job}/hold",
        what: "Hold what waits of a job",
        body: Some(of::<Which>),
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/jobs/{job}/release",
        what: "Release what is held of a job",
        body: Some(of::<Which>),
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/jobs/{job}/requeue",
        what: "End what runs of a job, and run it again",
        body: Some(of::<Which>),
        answer: of::<Value>,
    },
    Route {
        method: "get",
        path: "/v1/history",
        what: "Attempts that were, the newest first: job=N, most=N",
        body: None,
        answer: of::<Vec<Past>>,
    },
    Route {
        method: "get",
        path: "/v1/hosts",
        what: "Hosts, and what is held of them",
        body: None,
        answer: of::<Vec<HostRow>>,
    },
    Route {
        method: "post",
        path: "/v1/hosts/{host}/drain",
        what: "Start nothing new on a host",
        body: Some(of::<Because>),
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/hosts/{host}/resume",
        what: "Start jobs on a host again",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/hosts/{host}/revoke",
        what: "Take the credential of a joined host back",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/tokens",
        what: "Make a token, with which one host may join, or one client log in, within ten minutes",
        body: Some(of::<Wanted>),
        answer: of::<Invitation>,
    },
    Route {
        method: "get",
        path: "/v1/clients",
        what: "Clients that have logged in",
        body: None,
        answer: of::<Vec<ClientRow>>,
    },
    Route {
        method: "post",
        path: "/v1/clients/{client}/revoke",
        what: "Take the credential of a client back",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/login",
        what: "Over the network: the same as join, for a client that gives commands",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/logout",
        what: "Over the network: give the credential of the client that asks back",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/join",
        what: "Over the network: hand in a token, a name and the hash of what will be the credential",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "post",
        path: "/v1/agent",
        what: "For agents: say what a host has",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "get",
        path: "/v1/agent/line",
        what: "For agents: a WebSocket for the messages of the protocol",
        body: None,
        answer: of::<Value>,
    },
    Route {
        method: "get",
        path: "/v1/agent/blobs/{blob}",
        what: "For agents: what a job runs that has something on this host",
        body: None,
        answer: of::<Value>,
    },
    Route { method: "get", path: "/openapi.json", what: "This document", body: None, answer: of::<Value> },
];

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|with| with.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = serde_json::Map::new();
    for route in &ROUTES {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method] = operation(route, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    let error =
        json!({ "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } } });
    schemas.insert("Error".into(), error);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Muster", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let parts = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let kind = if name == "job" { "integer" } else { "string" };
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
    };
    let content = |schema: Value| {
        let kind = if schema["format"] == "binary" { BYTES } else { "application/json" };
        json!({ kind: { "schema": schema } })
    };
    let error = json!({
        "description": "What is wrong, and the next command to try",
        "content": content(json!({ "$ref": "#/components/schemas/Error" })),
    });
    let mut operation = json!({
        "summary": route.what,
        "parameters": parts.map(parameter).collect::<Vec<Value>>(),
        "responses": {
            "200": { "description": "Done", "content": content((route.answer)(generator).to_value()) },
            "default": error,
        },
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({ "content": content(body(generator).to_value()) });
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` in a value.
    fn references(value: &Value) -> Vec<String> {
        match value {
            Value::Object(fields) => fields
                .iter()
                .flat_map(|(name, value)| match value.as_str() {
                    Some(target) if name == "$ref" => vec![target.to_owned()],
                    _ => references(value),
                })
                .collect(),
            Value::Array(all) => all.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn whatever_is_referred_to_is_there() {
        let document = document();
        let all = references(&document);
        assert!(all.iter().any(|target| target == "#/components/schemas/JobRow"), "{all:?}");
        for target in all {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
        }
        let size = &document["components"]["schemas"]["Size"]["properties"]["max_nodes"];
        assert!(
            size["description"].as_str().is_some_and(|text| text.starts_with("Hosts, at most")),
            "{size}"
        );
        let row = &document["components"]["schemas"]["HostRow"]["properties"]["memory_mib"];
        assert_eq!(row["description"], "Memory, mebibytes.");
        let output = &document["paths"]["/v1/jobs/{job}/output"]["get"]["responses"]["200"]["content"];
        assert_eq!(output[BYTES]["schema"]["format"], "binary", "{output}");
        let count: usize =
            document["paths"].as_object().unwrap().values().map(|of| of.as_object().unwrap().len()).sum();
        assert_eq!(count, ROUTES.len());
    }
}
