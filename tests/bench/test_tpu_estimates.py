"""The compiler estimates are read from a program text. The comments count the expected figures by hand."""

import types

import pytest

from bench import tpu_estimates

# A shortened text of the compiler. It has a fusion of 940 cycles, an operation without a figure, and a loop that runs 5
# times by its note. The body of the loop has 100 cycles and an inner loop of 10 cycles, which runs 3 times by its
# condition.
TEXT = """\
HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused (p: f32[8]) -> f32[8] {
  %p = f32[8]{0:T(256)} parameter(0)
  ROOT %conv.1 = f32[8]{0:T(256)} convert(%p)
}

%inner_body (q: (s32[], f32[8])) -> (s32[], f32[8]) {
  ROOT %t.1 = (s32[]{:T(256)}, f32[8]{0:T(256)}) fusion(%q), calls=%fused, metadata={op_name="jit(step)/transpose(jvp(M))/block00/depthwise/conv"}, backend_config={"window_config":{"estimated_cycles":"10"}}
}

%inner_condition (q: (s32[], f32[8])) -> pred[] {
  %q = (s32[]{:T(256)}, f32[8]{0:T(256)}) parameter(0)
  %limit = s32[]{:T(256)} constant(3)
  %counter = s32[]{:T(256)} get-tuple-element(%q), index=0
  ROOT %lt = pred[]{:T(1024)} compare(%counter, %limit), direction=LT, backend_config={"flag_configs":[]}
}

%body.2 (r: (s32[], f32[8])) -> (s32[], f32[8]) {
  %r = (s32[]{:T(256)}, f32[8]{0:T(256)}) parameter(0)
  %while.1 = (s32[]{:T(256)}, f32[8]{0:T(256)}) while(%r), condition=%inner_condition, body=%inner_body
  ROOT %t.2 = (s32[]{:T(256)}, f32[8]{0:T(256)}) fusion(%while.1), calls=%fused, metadata={op_name="jit(step)/jvp(M)/lstm/dot_general"}, backend_config={"window_config":{"estimated_cycles":"100"}}
}

%condition.2 (r: (s32[], f32[8])) -> pred[] {
  ROOT %r = pred[]{:T(1024)} constant(true)
}

ENTRY %main.3 (x: f32[8]) -> f32[8] {
  %x = f32[8]{0:T(256)} parameter(0), sharding={replicated}
  %f.1 = f32[8]{0:T(256)} fusion(%x), kind=kOutput, calls=%fused, metadata={op_name="jit(step)/jvp(M)/block00/expand/conv" stack_frame_id=1}, backend_config={"window_config":{"estimated_cycles":"940"}}
  %while.2 = (s32[]{:T(256)}, f32[8]{0:T(256)}) while(%f.1), condition=%condition.2, body=%body.2, backend_config={"known_trip_count":{"n":"5"}}
  %psum = f32[8]{0:T(256)} all-reduce(%x), to_apply=%fused
  ROOT %copy.9 = f32[8]{0:T(256)} copy(%psum), backend_config={"window_config":{"estimated_cycles":"7"}}
}
"""  # noqa: E501  (lines as long as the compiler's)


def test_cycles_count_as_often_as_the_loops_around_them_run():
    assert tpu_estimates.cycles_by_operation(TEXT) == {
        'jit(step)/jvp(M)/block00/expand/conv': 940,
        'jit(step)/jvp(M)/lstm/dot_general': 500,  # 5 * 100
        'jit(step)/transpose(jvp(M))/block00/depthwise/conv': 150,  # 5 * 3 * 10
        '(no name)': 7,
    }


def test_a_loop_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match='how often does this loop run'):
        tpu_estimates.cycles_by_operation(TEXT.replace('constant(3)', 'parameter(3)'))


def test_a_branch_is_refused():
    with pytest.raises(ValueError, match='which branch'):
        tpu_estimates.cycles_by_operation(TEXT.replace('all-reduce(%x)', 'conditional(%x)'))


@pytest.mark.parametrize(
    'op_name,part',
    [
        ('jit(f)/jvp(M)/vmap(backbone)/block03/depthwise/cond/conv', 'depthwise forward'),
        ('jit(f)/transpose(jvp(M))/vmap(backbone)/block03/depthwise/cond/conv', 'depthwise backward'),
        ('jit(f)/jvp(M)/vmap(backbone)/stem/conv_general_dilated', 'convolution forward'),
        ('jit(f)/transpose(jvp(M))/vmap(backbone)/block03/project/conv', 'convolution backward'),
        ('jit(f)/jvp(M)/vmap(backbone)/block03/se/expand/dot_general', 'other forward'),
        ('jit(f)/jvp(M)/vmap(backbone)/block03/expand_bn/mul', 'other forward'),
        ('jit(f)/psum', 'other forward'),
    ],
)
def test_part_of_the_step(op_name, part):
    assert tpu_estimates.part_of_step(op_name) == part


def test_estimates_of_a_core():
    gib = 2**30
    memory = types.SimpleNamespace(
        argument_size_in_bytes=2 * gib,
        output_size_in_bytes=3 * gib,
        alias_size_in_bytes=2 * gib,  # donated arrays are in the arguments and in the output
        temp_size_in_bytes=10 * gib,
        generated_code_size_in_bytes=gib // 4,
    )
    cost = {'flops': 2.5e12, 'bytes accessed': 86.04e9, 'optimal_seconds': 0.2}
    compiled = types.SimpleNamespace(
        memory_analysis=lambda: memory,
        cost_analysis=lambda: cost,
        as_text=lambda: TEXT.replace('"940"', '"94000000"'),
    )
    figures = tpu_estimates.estimates(compiled)
    assert figures['hbm_gib'] == 13.25 and figures['fits']  # 2 + 3 - 2 + 10 + 0.25
    assert (figures['tflops'], figures['moved_gb'], figures['floor_s']) == (2.5, 86.0, 0.2)
    assert figures['cycles_s'] == 0.1  # 94 of 940 million cycles per second; 657 more do not show
    assert figures['cycles_s_by_part']['convolution forward'] == 0.1
    memory.temp_size_in_bytes += 3 * gib
    assert not tpu_estimates.estimates(compiled)['fits']  # 16.25 > 15.5


def test_hours_of_members():
    # Two recipes of 1 s and 2 s a step, 5 folds of 40 epochs of 126 steps: 3 * 25,200 s = 21 h.
    assert tpu_estimates.members_hours([1.0, 2.0]) == pytest.approx(21.0)
