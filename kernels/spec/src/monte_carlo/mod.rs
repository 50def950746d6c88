//! Stand-in until the options' part brings the real module: only names what lies below.

pub mod risk;
