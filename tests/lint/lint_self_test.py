#!/usr/bin/env python3
"""Each lint finds the fault it is there for, and leaves good files alone."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "lint"))
import compile_cost  # noqa: E402
import file_length  # noqa: E402
import headers  # noqa: E402
import isa_objects  # noqa: E402
import layers  # noqa: E402
import names  # noqa: E402
import tree  # noqa: E402


class TreeTest(unittest.TestCase):
    """Runs a lint over a small tree written for the purpose."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def problems_of(self, check, files):
        for path, text in files.items():
            self.write(path, text)
        return check(self.root)[1]


class Layers(TreeTest):
    def problems(self, path, include):
        return self.problems_of(layers.check, {path: f"#pragma once\n#include {include}\n"})

    def test_faults(self):
        for path, include in [
            ("src/base/check.h", '"kernels/pool_blocks/params.h"'),
            ("src/kernels/pool_blocks/cpu.cpp", "<ATen/core/Tensor.h>"),
            ("src/kernels/pool_blocks/cpu.cpp", "<c10/util/BFloat16.h>"),
            ("src/kernels/pool_blocks/cpu.cpp", "<torch/torch.h>"),
            ("src/kernels/pool_blocks/cpu.cpp", "<cuda_runtime.h>"),
            ("src/kernels/pool_blocks/plan.cpp", '"kernels/hopper/tma.cuh"'),
            ("src/kernels/pool_blocks/cpu.cpp", '"ops/pool_blocks.h"'),
            ("src/ops/pool_blocks.cpp", '"kernels/hopper/tma.cuh"'),
            ("src/ops/pool_blocks.cpp", '"kernels/simd/vectors.h"'),
            ("src/ops/pool_blocks.cpp", "<cuda.h>"),
            ("src/ops/cpu/pool_blocks.cpp", "<ATen/cuda/CUDAContext.h>"),
            ("src/parallel/process_group.cpp", "<nccl.h>"),
            ("src/parallel/nccl_backend.cpp", "<cuda_runtime.h>"),
            ("src/gate/design.cpp", '"kernels/pool_blocks/params.h"'),
            ("src/gate/design.cpp", '"selection/policy.h"'),
            ("src/io/safetensors.cpp", '"model/decoder.h"'),
            ("src/distill/loss.cpp", '"eval/report.h"'),
            ("src/finetune/trainer.cpp", '"distill/loss.h"'),
            ("src/cli/info.cpp", '"model/decoder.h"'),
            ("src/cli/info.cpp", '"base/cpu_isa.h"'),
            ("include/seer/ops.h", '"base/ceil_div.h"'),
            ("src/base/check.cpp", '"../base/check.h"'),
            ("src/extras/check.cpp", "<vector>"),
        ]:
            with self.subTest(path=path, include=include):
                self.assertEqual(len(self.problems(path, include)), 1)
                (self.root / path).unlink()

    def test_good(self):
        for path, include in [
            ("src/base/check.h", "<vector>"),
            ("src/kernels/pool_blocks/cpu.cpp", '"base/ceil_div.h"'),
            ("src/kernels/pool_blocks/cpu.cpp", "<hwy/highway.h>"),
            ("src/kernels/pool_blocks/sm90/kernel.cuh", '"kernels/hopper/tma.cuh"'),
            ("src/kernels/pool_blocks/instance.cu.in", "<cuda_runtime.h>"),
            ("src/ops/pool_blocks.cpp", '"kernels/pool_blocks/params.h"'),
            ("src/ops/pool_blocks.cpp", '"seer/ops.h"'),
            ("src/ops/cuda/pool_blocks.cpp", "<c10/cuda/CUDAStream.h>"),
            ("src/parallel/nccl_backend.cpp", "<nccl.h>"),
            ("src/eval/report.cpp", '"model/decoder.h"'),
            ("src/cli/info.cpp", '"seer/ops.h"'),
            ("src/cli/bench.cpp", '"bench/support/timer.h"'),
            ("tests/unit/anything_test.cpp", '"kernels/simd/vectors.h"'),
        ]:
            with self.subTest(path=path, include=include):
                self.assertEqual(self.problems(path, include), [])

    def test_names_the_line(self):
        self.assertTrue(self.problems("src/base/check.h", "<torch/torch.h>")[0].startswith("src/base/check.h:2: "))


class FileLength(TreeTest):
    def test_length(self):
        self.assertEqual(self.problems_of(file_length.check, {"src/a.cpp": "\n" * 500}), [])
        self.assertEqual(len(self.problems_of(file_length.check, {"src/a.cpp": "\n" * 501})), 1)

    def test_vague_name(self):
        self.assertEqual(len(self.problems_of(file_length.check, {"src/base/utils.h": ""})), 1)


class Names(TreeTest):
    def test_faults(self):
        for text in ("cd /ho" "me/someone/seer", "'/ro" "ot/x'", "pip install --index-url https://py" "pi.org/simple"):
            with self.subTest(text=text):
                self.assertEqual(len(self.problems_of(names.check, {"README.md": text})), 1)

    def test_good(self):
        good = "make setup\n~/work/seer\nhttps://example.com/home/page\n"
        self.assertEqual(self.problems_of(names.check, {"README.md": good}), [])


class Headers(TreeTest):
    def test_header_that_leans_on_its_includer(self):
        self.write("src/base/good.h", "#pragma once\n#include <vector>\nstd::vector<int> f();\n")
        self.assertEqual(headers.check(self.root, "c++", ["src/base"], []), (1, []))
        self.write("src/base/bad.h", "#pragma once\nstd::vector<int> f();\n")
        self.assertEqual(len(headers.check(self.root, "c++", ["src/base"], [])[1]), 1)


class IsaObjects(unittest.TestCase):
    def listing(self, function, instruction):
        return isa_objects.check_listing(
            ["", f"0000000000001120 <{function}>:\n", f"    1120:\t{instruction}\n", "    1124:\tret\n"], "x.so")

    def test_faults(self):
        for function, instruction in [
            ("std::vector<float, std::allocator<float> >::push_back(float&&)", "vmovups %zmm0,(%rdi)"),
            ("std::vector<float, std::allocator<float> >::push_back(float&&)", "vmovups %ymm0,(%rdi)"),
            ("float const& std::max<float>(float const&, float const&)", "vcomiss (%rsi),%xmm0"),
            ("seer::N_SSE2::tile(float*)", "vmovups %ymm0,(%rdi)"),
            ("seer::N_AVX2::tile(float*)", "vaddps %ymm1,%ymm2,%ymm0{%k1}"),
            ("seer::N_AVX2::tile(float*)", "vmovups %ymm17,(%rdi)"),
            ("seer::N_AVX2::tile(float*)", "kmovw  %k1,%eax"),
            ("at::parallel_for(long)", "vzeroupper"),
        ]:
            with self.subTest(function=function, instruction=instruction):
                self.assertEqual(len(self.listing(function, instruction)[1]), 1)

    def test_good(self):
        for function, instruction in [
            ("seer::N_AVX3::tile(float*)", "vfmadd231ps (%rdx),%zmm1,%zmm0{%k1}"),
            ("seer::N_AVX3_SPR::tile(float*)", "vmovups %zmm31,(%rdi)"),
            ("seer::avx512_bf16::tile(float*)", "vdpbf16ps %zmm1,%zmm2,%zmm0"),
            ("seer::N_AVX2::tile(float*)", "vfmadd231ps (%rdx),%ymm1,%ymm0"),
            ("seer::N_AVX2::tile(float*) [clone .cold]", "vzeroupper"),
            ("seer::N_SSE2::tile(float*)", "addps  %xmm1,%xmm0"),
            ("main", "call   1130 <seer::N_AVX3::tile(float*)>"),
            ("main", "verr   %ax"),
        ]:
            with self.subTest(function=function, instruction=instruction):
                self.assertEqual(self.listing(function, instruction)[1], [])

    def test_counts_wide_functions(self):
        self.assertEqual(self.listing("seer::N_AVX2::tile(float*)", "vaddps %ymm1,%ymm2,%ymm0")[0], 1)
        self.assertEqual(self.listing("main", "addps  %xmm1,%xmm0")[0], 0)


class CompileCost(TreeTest):
    def test_faults(self):
        for cost in [(1, 1.0, 100.0), (0, 61.0, 100.0), (0, 1.0, 2001.0)]:
            with self.subTest(cost=cost):
                self.assertIsNotNone(compile_cost.problem_with(*cost))
        self.assertIsNone(compile_cost.problem_with(0, 29.0, 1999.0))

    def test_measures_children(self):
        eater = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(300_000_000); sum(range(10**6))'])"
        code, seconds, megabytes = compile_cost.cost_of([sys.executable, "-c", eater], str(self.root))
        self.assertEqual(code, 0)
        self.assertGreater(seconds, 0.0)
        self.assertGreater(megabytes, 290.0)
        self.assertEqual(compile_cost.cost_of(["false"], str(self.root))[0], 1)

    def test_takes_cuda_files_without_the_cache(self):
        self.write("compile_commands.json", '[{"file": "a/x.cu", "command": "ccache nvcc -c a/x.cu -o x.o"},'
                                            ' {"file": "a/y.cpp", "command": "c++ -c a/y.cpp -o y.o"}]')
        commands = compile_cost.cuda_commands(self.root, [])
        self.assertEqual([entry["file"] for entry in commands], ["a/x.cu"])
        self.assertEqual(compile_cost.cuda_commands(self.root, ["other"]), [])
        self.assertEqual(compile_cost.redirected(commands[0]["command"], "out.o"),
                         ["nvcc", "-c", "a/x.cu", "-o", "out.o"])


class Report(unittest.TestCase):
    def test_nothing_checked_is_a_failure(self):
        self.assertEqual(tree.report("lint", 0, []), 1)
        self.assertEqual(tree.report("lint", 1, []), 0)
        self.assertEqual(tree.report("lint", 1, ["a problem"]), 1)


if __name__ == "__main__":
    unittest.main()
