#!/usr/bin/env bash
# The bit contract on arm64, on a machine of another kind: the kernels' tests, so NEON against the reference bit for
# bit, and the smoke tier of every suite against golden, with NEON and with scalar code. Emulated by qemu.
#
# Installs what is missing where it can, which is as root on Debian or Ubuntu. Elsewhere it skips with a word, or fails
# where PREHEAT_REQUIRE asks for `arm64`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGET=aarch64-unknown-linux-gnu
readonly STORE=target/ci/arm64

# As preheat::skip (tests/support/lib.rs) does: says that $1 is missing and ends the step, with failure where it is
# required.
skip() {
    local require=${PREHEAT_REQUIRE-}
    local words=",${require// /},"
    if [[ $words == *,arm64,* || ($words == *,all,* && $words != *,-arm64,*) ]]; then
        echo "arm64: $1 is missing here, and PREHEAT_REQUIRE=$require" >&2
        exit 1
    fi
    echo "skipped: arm64: $1 is missing here" >&2
    exit 0
}

# Installs Debian packages, where that is possible.
install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    echo "arm64: installing $*" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

find_emulator() {
    command -v qemu-aarch64-static || command -v qemu-aarch64
}

# Whether the compiler $1 has its library for arm64.
has_library() {
    local root
    root=$("$1" --print sysroot 2>/dev/null) && [[ -d $root/lib/rustlib/$TARGET/lib ]]
}

# Prints the compiler to use: the usual one, with rustup's library for arm64, or Debian's newest with its own.
find_compiler() {
    local debian=/usr/bin/rustc
    if has_library rustc; then
        echo rustc
    elif has_library $debian; then
        echo $debian
    elif command -v rustup >/dev/null && RUST_BACKTRACE=0 rustup target add $TARGET >&2 && has_library rustc; then
        echo rustc
    elif grep -qx ID=debian /etc/os-release && [[ $(id -u) == 0 ]]; then
        dpkg --add-architecture arm64
        install rustc-web libstd-rust-web-dev:arm64 && has_library $debian && echo $debian
    else
        return 1
    fi
}

if [[ $(uname -m) == aarch64 || $(uname -m) == arm64 ]]; then
    echo "this machine is arm64 itself: the steps test and smoke are what is asked here"
    exit 0
fi

command -v aarch64-linux-gnu-gcc >/dev/null || install gcc-aarch64-linux-gnu libc6-dev-arm64-cross ||
    skip "aarch64-linux-gnu-gcc"
emulator=$(find_emulator) || { install qemu-user-static && emulator=$(find_emulator); } || skip "qemu-aarch64"
compiler=$(find_compiler) || skip "rustc's library for $TARGET"

# Linked statically. Otherwise the loader of one arm64 C library may meet the libc of another (Debian's cross package and
# its arm64 package can both be there), and a program then hangs when it starts a thread.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$emulator
if [[ $compiler == rustc ]]; then
    # The usual lints do not see what is compiled for arm64 alone.
    cargo clippy --package preheat-kernels --lib --target $TARGET --locked -- -D warnings
else
    export RUSTC=$compiler
fi

printf '\n%s\n' "$("$compiler" --version), $("$emulator" --version | head -n 1)"
# What builds C or C++ for the machine that it runs on (the emulator of CUDA, the driver of straw) is left to `test`.
tests=()
for path in kernels/tests/*.rs kernels/tests/*/main.rs; do
    name=${path#kernels/tests/} name=${name%.rs} name=${name%/main}
    [[ $name == cuda || $name == driver ]] || tests+=(--test "$name")
done
cargo test --package preheat-kernels --lib "${tests[@]}" --target $TARGET --locked
# Trained from nothing: a record of an earlier run does not know the compiler. The tables are golden's, or it fails.
for simd in neon scalar; do
    rm -rf "$STORE"
    printf '\nsmoke tier on arm64, %s\n' $simd
    PREHEAT_SIMD=$simd cargo run --quiet --package preheat-bench --target $TARGET --locked -- \
        bench --tier smoke --store "$STORE" >/dev/null
done
rm -rf "$STORE"
