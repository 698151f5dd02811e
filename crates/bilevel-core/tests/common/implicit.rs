//! What every implicit method must satisfy, for the backend `B` of the binary that includes this file.
