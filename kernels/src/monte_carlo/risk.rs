//! placeholder
use crate::fold::Fold;
use crate::kernel::{Input, Partial, Work};
use muster_spec::monte_carlo::RiskSpec;
use muster_spec::{Grid, Problems};
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskPartial;
impl Partial for RiskPartial {
    fn merge(self, _: Self) -> Self {
        self
    }
}
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RiskAnswer;
impl std::fmt::Display for RiskAnswer {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub struct Risk;
impl Risk {
    pub fn prepare(_: &RiskSpec, _: u64, _: u64) -> Result<Risk, Problems> {
        Ok(Risk)
    }
    pub fn grid(&self) -> Grid {
        Grid::new(1)
    }
    pub fn work(&self) -> Work {
        Work { total: 1.0, unit: "scenarios".into() }
    }
    pub fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }
    pub fn fold(&self, _: u32, _: &mut Fold) -> RiskPartial {
        RiskPartial
    }
    pub fn finish(&self, _: &RiskPartial) -> RiskAnswer {
        RiskAnswer
    }
}
