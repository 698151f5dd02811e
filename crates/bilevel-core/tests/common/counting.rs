//! Flex, with every transfer counted: what would cross the bus, if the device were a GPU.

use std::cell::Cell;
use std::ops::Sub;
use std::pin::Pin;

use burn::tensor::backend::{DTypeUsageSet, ExecutionError};
use burn::tensor::{DType, Shape, TensorData};
use burn_flex::{Flex, FlexDevice};
use burn_ir::{BackendIr, OperationIr, TensorId, TensorIr};
use burn_router::{
    BackendRouter, MultiBackendBridge, RouterTensor, Runner, RunnerChannel, RunnerClient,
};

/// The backend.
pub type Counting = BackendRouter<Channel>;

/// Transfers that this thread has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Tensors read by the host, each of which waits for the device.
    pub reads: usize,
    /// Tensors written by it.
    pub writes: usize,
}

impl Sub for Transfers {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { reads: self.reads - before.reads, writes: self.writes - before.writes }
    }
}

thread_local! {
    static SO_FAR: Cell<Transfers> = const { Cell::new(Transfers { reads: 0, writes: 0 }) };
}

fn count(transfer: impl FnOnce(&mut Transfers)) {
    let mut so_far = SO_FAR.get();
    transfer(&mut so_far);
    SO_FAR.set(so_far);
}

/// The transfers during `f`.
pub fn transfers<T>(f: impl FnOnce() -> T) -> (T, Transfers) {
    let before = SO_FAR.get();
    let result = f();
    (result, SO_FAR.get() - before)
}

/// Runs operations on flex.
#[derive(Clone, Debug)]
pub struct Client(Runner<Flex>);

impl RunnerClient for Client {
    type Device = FlexDevice;

    fn register_op(&self, op: OperationIr) {
        self.0.register_op(op);
    }

    fn read_tensor_async(
        &self,
        tensor: TensorIr,
    ) -> Pin<Box<dyn Future<Output = Result<TensorData, ExecutionError>> + Send>> {
        count(|transfers| transfers.reads += 1);
        self.0.read_tensor_async(tensor)
    }

    fn sync(&self) -> Result<(), ExecutionError> {
        self.0.sync()
    }

    fn create_empty_handle(&self) -> TensorId {
        self.0.create_empty_handle()
    }

    fn register_tensor_data(&self, data: TensorData) -> RouterTensor<Self> {
        count(|transfers| transfers.writes += 1);
        let TensorIr { id, shape, dtype, .. } = self.0.register_tensor_data_desc(data);
        RouterTensor::new(id, shape, dtype, self.clone())
    }

    fn device(&self) -> FlexDevice {
        self.0.device()
    }

    fn seed(&self, seed: u64) {
        self.0.seed(seed);
    }

    fn dtype_usage(&self, dtype: DType) -> DTypeUsageSet {
        self.0.dtype_usage(dtype)
    }
}

type Handle = <Flex as BackendIr>::Handle;

/// There is one device: nothing moves.
pub struct NoBridge;

impl MultiBackendBridge for NoBridge {
    type TensorHandle = Handle;
    type Device = FlexDevice;

    fn change_backend_float(tensor: Handle, _: Shape, _: &FlexDevice) -> Handle {
        tensor
    }

    fn change_backend_int(tensor: Handle, _: Shape, _: &FlexDevice) -> Handle {
        tensor
    }

    fn change_backend_bool(tensor: Handle, _: Shape, _: &FlexDevice) -> Handle {
        tensor
    }
}

/// Leads to the one [`Client`].
#[derive(Clone, Copy, Debug)]
pub struct Channel;

impl RunnerChannel for Channel {
    type Device = FlexDevice;
    type Bridge = NoBridge;
    type Client = Client;
    type FloatElem = f32;
    type IntElem = i32;
    type BoolElem = bool;

    fn name(_: &FlexDevice) -> String {
        "counting".into()
    }

    fn init_client(device: &FlexDevice) -> Client {
        Client(Runner::new(*device))
    }

    fn get_tensor_handle(tensor: &TensorIr, client: &Client) -> Handle {
        client.0.get_tensor_handle(tensor)
    }

    fn register_tensor(
        client: &Client,
        handle: Handle,
        shape: Shape,
        dtype: DType,
    ) -> RouterTensor<Client> {
        client.0.register_tensor(handle, shape, dtype, client.clone())
    }
}
