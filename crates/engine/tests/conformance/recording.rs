//! A machine that writes down every report, so that machines can be compared.

use std::sync::{Arc, Mutex};

use glasshouse_devices::{Context, ProcessMemory, StepCall, StepReport};
use glasshouse_engine::{
    Instance, InstanceLimits, Machine, ModuleError, Snapshot, SnapshotError, StepLimits, rewrite::Needs,
};

type Reports = Arc<Mutex<Vec<StepReport>>>;

/// A machine, and all reports of its instances in order.
pub struct Recording<M> {
    machine: M,
    reports: Reports,
}

pub struct RecordedInstance<I> {
    instance: I,
    reports: Reports,
}

impl<M> Recording<M> {
    pub fn new(machine: M) -> Self {
        Self { machine, reports: Reports::default() }
    }

    pub fn reports(&self) -> Vec<StepReport> {
        self.reports.lock().unwrap().clone()
    }
}

impl<M: Machine> Machine for Recording<M> {
    type Module = M::Module;
    type Image = M::Image;
    type Instance = RecordedInstance<M::Instance>;

    fn compile(&self, module: &[u8]) -> Result<M::Module, ModuleError> {
        self.machine.compile(module)
    }

    fn needs<'a>(&self, module: &'a M::Module) -> &'a Needs {
        self.machine.needs(module)
    }

    fn instantiate(&self, module: &M::Module, limits: InstanceLimits) -> Result<Self::Instance, ModuleError> {
        let instance = self.machine.instantiate(module, limits)?;
        Ok(RecordedInstance { instance, reports: Arc::clone(&self.reports) })
    }

    fn restore(
        &self,
        module: &M::Module,
        snapshot: &Snapshot<M::Image>,
        limits: InstanceLimits,
    ) -> Result<Self::Instance, SnapshotError> {
        let instance = self.machine.restore(module, snapshot, limits)?;
        Ok(RecordedInstance { instance, reports: Arc::clone(&self.reports) })
    }
}

impl<I: Instance> Instance for RecordedInstance<I> {
    type Image = I::Image;

    fn step(&mut self, call: &StepCall, context: &mut Context, limits: impl Into<StepLimits>) -> StepReport {
        let report = self.instance.step(call, context, limits);
        self.reports.lock().unwrap().push(report.clone());
        report
    }

    fn snapshot(&mut self) -> Result<Snapshot<I::Image>, SnapshotError> {
        self.instance.snapshot()
    }

    fn memory(&mut self) -> &mut dyn ProcessMemory {
        self.instance.memory()
    }
}
