//! The client library behind svc, svstat and the other small programs.
