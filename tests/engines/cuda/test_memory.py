"""Memory of both CUDA drivers on their fakes, in any order of use."""

from fakes.install import installed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from engines.cuda.pycuda import open_driver


class AnyUse(RuleBasedStateMachine):
    """Any order of allocations, writes and copies, against a model that knows what the bytes must be."""

    package = "pycuda"
    devices, hosts = Bundle("devices"), Bundle("hosts")

    def __init__(self):
        super().__init__()
        self.context = installed(lazy=True)
        self.gpu = self.context.__enter__()
        self.driver = open_driver(self.package, spin=False)
        self.contents, self.arrays = {}, []
        self.closed = False

    @precondition(lambda self: not self.closed)
    @rule(target=devices, size=st.integers(16, 64))
    def allocate(self, size):
        address = self.driver.allocate(size)
        self.contents[address] = None
        return address

    @precondition(lambda self: not self.closed)
    @rule(target=hosts, size=st.integers(16, 64), mapped=st.booleans())
    def page_locked(self, size, mapped):
        array, address = self.driver.page_locked(size, mapped=mapped)
        assert bool(address) == mapped
        self.arrays.append(array)
        return array

    @precondition(lambda self: not self.closed)
    @rule(address=devices, array=hosts, size=st.integers(1, 16), value=st.integers(0, 255))
    def send(self, address, array, size, value):
        array[:size] = value
        self.driver.to_device(address, array[:size])
        self.driver.synchronize()
        self.contents[address] = (size, value)

    @precondition(lambda self: not self.closed)
    @rule(address=devices, array=hosts)
    def receive(self, address, array):
        if self.contents[address] is not None:
            size, value = self.contents[address]
            array[:size] = value ^ 255
            self.driver.to_host(array[:size], address)
            assert (array[:size] == value ^ 255).all()  # not before somebody waits
            self.driver.synchronize()
            assert (array[:size] == value).all()

    @rule()
    def close(self):
        self.driver.close()
        self.closed = True

    @invariant()
    def memory_adds_up(self):
        assert bool(self.gpu.live()) != self.closed
        assert not self.gpu.faults

    def teardown(self):
        self.driver.close()
        self.context.__exit__(None, None, None)


class AnyUseOfBindings(AnyUse):
    package = "cuda-bindings"


TestAnyUse, TestAnyUseOfBindings = AnyUse.TestCase, AnyUseOfBindings.TestCase
TestAnyUse.settings = TestAnyUseOfBindings.settings = settings(max_examples=25, stateful_step_count=20)
