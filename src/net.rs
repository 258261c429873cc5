//! Outgoing HTTP: one client for all roles, rustls only, every call with a timeout.
