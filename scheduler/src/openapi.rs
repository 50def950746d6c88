//! The OpenAPI document of the API, version 1.

use serde_json::{Value, json};

/// Methods, paths, and what each does.
const ROUTES: [(&str, &str, &str); 28] = [
    ("get", "/v1/pool", "What the pool is: version, state directory, counts"),
    ("post", "/v1/pool/down", "End the pool; what runs goes on until its agents' lease ends"),
    ("get", "/v1/jobs", "Jobs that are not over; with all=true, all that are remembered"),
    ("post", "/v1/jobs", "Submit a job: a jobspec and what it runs; answered when it is on disk"),
    ("get", "/v1/jobs/{job}", "Everything about a job"),
    ("get", "/v1/jobs/{job}/why", "Why a job waits, with every reason and the start that is foretold"),
    (
        "get",
        "/v1/jobs/{job}/over",
        "Answered when the job is over, with its attempts; with none when it is not within within_s=SECONDS",
    ),
    ("get", "/v1/jobs/{job}/streams", "Where a job's output is: element=N for one of an array"),
    (
        "get",
        "/v1/jobs/{job}/output",
        "What a job has written, as bytes, wherever it ran: element=N, error=true, from=BYTE; the header muster-over says \
         whether that is all",
    ),
    ("post", "/v1/jobs/{job}/cancel", "Cancel a job, or elements of it"),
    ("post", "/v1/jobs/{job}/hold", "Hold what waits of a job"),
    ("post", "/v1/jobs/{job}/release", "Release what is held of a job"),
    ("post", "/v1/jobs/{job}/requeue", "End what runs of a job, and run it again"),
    ("get", "/v1/history", "Attempts that were, the newest first: job=N, most=N"),
    ("get", "/v1/hosts", "Hosts, and what is held of them"),
    ("post", "/v1/hosts/{host}/drain", "Start nothing new on a host"),
    ("post", "/v1/hosts/{host}/resume", "Start jobs on a host again"),
    ("post", "/v1/hosts/{host}/revoke", "Take the credential of a joined host back"),
    (
        "post",
        "/v1/tokens",
        "Make a token, with which one host may join, or one client log in, within ten minutes",
    ),
    ("get", "/v1/clients", "Clients that have logged in"),
    ("post", "/v1/clients/{client}/revoke", "Take the credential of a client back"),
    ("post", "/v1/login", "Over the network: the same as join, for a client that gives commands"),
    ("post", "/v1/logout", "Over the network: give the credential of the client that asks back"),
    (
        "post",
        "/v1/join",
        "Over the network: hand in a token, a name and the hash of what will be the credential",
    ),
    ("post", "/v1/agent", "For agents: say what a host has"),
    ("get", "/v1/agent/line", "For agents: a WebSocket for the messages of the protocol"),
    ("get", "/v1/agent/blobs/{blob}", "For agents: what a job runs that has something on this host"),
    ("get", "/openapi.json", "This document"),
];

/// The document.
pub fn document() -> Value {
    let mut paths = serde_json::Map::new();
    for (method, path, summary) in ROUTES {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| {
                let kind = if name == "job" { "integer" } else { "string" };
                json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
            })
            .collect();
        let error = json!({
            "description": "What is wrong, and the next command to try",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        let operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": { "description": "Done", "content": { "application/json": {} } },
                "default": error,
            },
        });
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Muster", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Error": {
            "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } },
        } } },
    })
}
