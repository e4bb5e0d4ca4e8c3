//! The engine: how components are compiled, where instances live, and the clock that ends those that run too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, Memory, MemoryType,
    PoolingAllocationConfig, Store,
};

use crate::{HostError, Options};

/// How often a running guest is checked. This is the precision of its deadline, and the longest time for which it keeps a
/// thread of the async runtime from other work.
const TICK: Duration = Duration::from_millis(10);

/// The number of bytes of a memory that its slot in the pool keeps for the next call, cleared. Most calls touch no more, and
/// asking the system for the same pages each time took longer than what many of them compute. At most four slots keep it.
const KEEP_RESIDENT: usize = 512 << 10;

/// The number of linear memories for each concurrent call: composed components have several.
const MEMORIES_PER_CALL: u32 = 2;

/// The number of tables for each concurrent call.
const TABLES_PER_CALL: u32 = 8;

/// The maximum number of core instances of one component, which is also the number for each concurrent call. They are only
/// counted; nothing is reserved for them.
const CORE_INSTANCES: u32 = 64;

/// The resources of the pool that one instance of a component takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memories: u32,
    pub(crate) tables: u32,
}

impl Size {
    /// Returns the resources available to a number of calls.
    pub(crate) const fn of_calls(calls: u32) -> Self {
        Self {
            memories: calls * MEMORIES_PER_CALL,
            tables: calls * TABLES_PER_CALL,
        }
    }

    /// Returns the number of calls that would fit in this size.
    pub(crate) fn calls(self) -> u32 {
        let memories = self.memories.div_ceil(MEMORIES_PER_CALL);
        let tables = self.tables.div_ceil(TABLES_PER_CALL);
        memories.max(tables).max(1)
    }
}

/// Returns how many of the concurrent calls one plugin may take, and how many may wait for the network in total. Calls that hang
/// leave at least half to the others, or take turns with them if there is only one.
pub(crate) const fn share(calls: u32) -> u32 {
    calls.div_ceil(2)
}

/// The place where instances live.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instances {
    /// In a pool for this many concurrent calls, whose address space is reserved once. Only touched pages cost memory, and they
    /// go back to the system after each call.
    Pooled { calls: u32 },
    /// Each in memory that is mapped for it. Calls are slower, but no pool has to be created first.
    Mapped,
}

/// Creates an engine.
///
/// If there is not enough address space for a pool, or for reserving a whole memory (`ulimit -v`, some sandboxes), each instance
/// is mapped with only what it needs at first. That is slower but otherwise the same.
pub(crate) fn build(options: &Options) -> Result<Engine, HostError> {
    let mut wanted = config(options);
    let made = match options.instances() {
        Instances::Pooled { calls } => {
            wanted.allocation_strategy(pool(calls));
            Engine::new(&wanted)
        }
        Instances::Mapped => Engine::new(&wanted).and_then(reserves_memory),
    };
    match made {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no address space for the memory of instances; calls of plugins will be slower"
            );
            let mut small = config(options);
            // Growing by moving needs no reservation; compiled code then checks the bounds.
            small
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_may_move(true);
            Engine::new(&small).map_err(|error| HostError::Engine(format!("{error:#}")))
        }
    }
}

/// Returns the engine if there is address space for a whole memory: better to find out now than at the first call.
fn reserves_memory(engine: Engine) -> wasmtime::Result<Engine> {
    Memory::new(Store::new(&engine, ()), MemoryType::new(0, None))?;
    Ok(engine)
}

fn config(options: &Options) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // A laptop and a cluster may differ in architecture, but not in what they compute.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        // Nothing unwinds through guests, since a trap jumps, and registering the tables would cost time at each load.
        .native_unwind_info(false)
        .memory_init_cow(true)
        .parallel_compilation(takes_all_processors(options));
    config
}

/// Returns whether components may be compiled on all processors, each of which needs memory for its work. If another process
/// compiles within a memory limit, this process compiles only if that one could not be started or could not store its result. Its
/// only limit is then that it uses a single processor.
fn takes_all_processors(options: &Options) -> bool {
    let compiler = options.compiler.as_ref();
    compiler.is_none_or(|compiler| compiler.memory.is_none())
}

fn pool(calls: u32) -> InstanceAllocationStrategy {
    let Size { memories, tables } = Size::of_calls(calls);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES)
        .total_memories(memories)
        .total_tables(tables)
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(memories)
        .max_tables_per_component(64)
        .max_memories_per_module(16)
        .max_tables_per_module(16)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        // Above the limit on entries, so that it is that limit which is reached and reported.
        .table_elements(1 << 20)
        .max_memory_size(4 << 30)
        .max_unused_warm_slots(4)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Advances the engine's epoch while calls are running and sleeps while none is: an idle agent causes no wake-ups.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts the thread, which ends when the ticker is dropped.
    pub(crate) fn start(engine: &Engine) -> Result<Self, HostError> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.clone(), Arc::clone(&shared));
        let handle = thread::Builder::new()
            .name("plugin-deadlines".to_owned())
            .spawn(move || {
                while !seen.stopped.load(Ordering::Acquire) {
                    if seen.running.load(Ordering::Acquire) == 0 {
                        // If an unpark comes first, this returns at once, so none is missed.
                        thread::park();
                    } else {
                        thread::sleep(TICK);
                        engine.increment_epoch();
                    }
                }
            })
            .map_err(|error| HostError::Engine(error.to_string()))?;
        let thread = handle.thread().clone();
        Ok(Self { shared, thread })
    }

    /// Keeps the epoch advancing until the guard is dropped.
    pub(crate) fn run(&self) -> Running {
        if self.shared.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A call that is running.
#[derive(Debug)]
pub(crate) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;
    use crate::Compiler;

    fn compatibility(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    /// Returns an engine whose compiler process has this memory limit.
    fn beside(memory: Option<u64>) -> Engine {
        let compiler = Compiler {
            program: "/no/such/program".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            memory,
            time: Duration::from_mins(1),
        };
        let options = Options {
            compiler: Some(compiler),
            ..mapped()
        };
        build(&options).unwrap()
    }

    fn mapped() -> Options {
        Options {
            is_pooled: false,
            ..Options::default()
        }
    }

    #[test]
    fn an_instance_takes_the_place_of_as_many_calls_as_it_leaves_no_room_for() {
        let calls = |memories, tables| Size { memories, tables }.calls();
        assert_eq!([calls(0, 0), calls(1, 1), calls(2, 8)], [1, 1, 1]);
        assert_eq!([calls(3, 1), calls(4, 1), calls(5, 0)], [2, 2, 3]);
        assert_eq!([calls(1, 9), calls(1, 64), calls(4, 64)], [2, 8, 8]);
        assert_eq!(Size::of_calls(8).calls(), 8);
    }

    #[test]
    fn where_instances_live_is_no_part_of_what_is_compiled() {
        // Commands can use the agent's cache, and the agent theirs.
        let pooled = Options {
            calls: 4,
            ..Options::default()
        };
        let [pooled, mapped] = [pooled, mapped()].map(|options| build(&options).unwrap());
        assert_eq!(compatibility(&pooled), compatibility(&mapped));
    }

    #[test]
    fn who_has_components_compiled_within_a_bound_takes_one_processor_for_it_himself() {
        let alone = build(&mapped()).unwrap();
        assert!(alone.get_parallel_compilation());
        assert!(beside(None).get_parallel_compilation());
        let bounded = beside(Some(256 << 20));
        assert!(!bounded.get_parallel_compilation());
        assert_eq!(compatibility(&bounded), compatibility(&alone));
    }
}
