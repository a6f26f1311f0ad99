# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by the scripts that source this
#
# What the scripts in this folder share: places, messages, and how kernels are built. Sourced, not run.

# EPOCHREALTIME came with 5.0, `wait -n -p` with 5.1.
bash_version=$((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1]))
if [ "$bash_version" -lt 501 ]; then
	printf '%s: bash 5.1 or newer is needed, this is %s\n' "${0##*/}" "$BASH_VERSION" >&2
	exit 1
fi

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
scripts=$repo/qemu-scripts
# What setup unpacks, trees and logs. It stays here even when cargo's own folder lies elsewhere.
work=$repo/target/qemu
logs=$work/logs
# What setup-suites builds and unpacks.
tools=$repo/target/tools
program=${0##*/}

# Cargo's folder, absolute, because the scripts change into the repository.
case ${CARGO_TARGET_DIR:=$repo/target} in
/*) ;;
*) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;;
esac
export CARGO_TARGET_DIR

# Written by setup: start the QEMU and the virtiofsd that were found or unpacked.
QEMU=$work/bin/qemu-system-x86_64
VIRTIOFSD=$work/bin/virtiofsd

# Messages go to standard error; standard output is for what was asked for.
say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
	say "$@"
	exit 1
}

wrong_usage() {
	say "$@"
	say "try '$0 --help'"
	exit 2
}

# Prints the comment at the head of the script that runs, up to the first empty line: its manual.
show_help() {
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
	exit 0
}

# Ends with a usage error unless the option in $1 is followed by a value. Call it as: need_value "$@"
need_value() {
	[ $# -ge 2 ] || wrong_usage "option $1 needs a value"
}

# Is this Rust target installed?
has_target() {
	[ -d "$(cd "$repo" && rustc --print sysroot)/lib/rustlib/$1/lib" ]
}

# Sets kernel_target, and kernel_environment with what cargo needs to build kernels. Where the bare-metal target is
# not to be had, the host's own is used with the flags that make a free-standing program of it. The target is always
# given explicitly, so that build scripts and procedural macros do not get these flags.
find_kernel_target() {
	kernel_environment=()
	if [ "${KERNEL_TARGET:-}" != x86_64-unknown-linux-gnu ] && has_target x86_64-unknown-none; then
		kernel_target=x86_64-unknown-none
		return
	fi
	kernel_target=x86_64-unknown-linux-gnu
	kernel_environment=("RUSTFLAGS=-C linker=rust-lld -C linker-flavor=ld.lld -C relocation-model=static -C no-redzone=yes")
}

# Runs cargo with the kernels' target: kernel_cargo build -p examples ...
kernel_cargo() {
	local command=$1
	shift
	(cd "$repo" && env "${kernel_environment[@]}" cargo "$command" --profile kernel --target "$kernel_target" "$@")
}

# Builds one example kernel and sets kernel to its ELF file.
build_kernel() {
	find_kernel_target
	local build=(kernel_cargo build -p examples --bin "$1")
	if [ -t 2 ]; then
		"${build[@]}" >&2 || fail "the kernel $1 could not be built"
	else
		# Without a terminal only a failure is of interest.
		local messages
		messages=$("${build[@]}" --quiet 2>&1) || fail "the kernel $1 could not be built: $messages"
	fi
	kernel=$CARGO_TARGET_DIR/$kernel_target/kernel/$1
}

# Builds the host tool that makes and lists trees, and sets sample_tree to it.
build_sample_tree() {
	(cd "$repo" && cargo build --quiet --release -p sample-tree) >&2 || fail "host/sample-tree could not be built"
	sample_tree=$CARGO_TARGET_DIR/release/sample-tree
}

# Builds the file system daemon of this project, and sets own_daemon to it.
build_own_daemon() {
	own_daemon=$CARGO_TARGET_DIR/release/virtio-fs-daemon
	[ -x "$own_daemon" ] || say "builds host/daemon, which serves the guests"
	(cd "$repo" && cargo build --quiet --release -p virtio-fs-daemon) >&2 || fail "host/daemon could not be built"
}

# Can programs be linked with this library?
has_library() {
	[ -e "/usr/lib/$(uname -m)-linux-gnu/$1.so" ] || [ -e "/usr/lib64/$1.so" ] || [ -e "/usr/lib/$1.so" ]
}

# Installs packages with apt-get: install_packages REASON PACKAGE...
install_packages() {
	local reason=$1 as_root=()
	shift
	command -v apt-get >/dev/null || return 1
	if [ "$(id -u)" != 0 ]; then
		# Without a terminal sudo must not ask for a password.
		if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
			as_root=(sudo)
		else
			return 1
		fi
	fi
	say "installs with apt-get: $* ($reason)"
	local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q)
	"${apt[@]}" install --no-install-recommends "$@" >"$logs/apt.log" 2>&1 && return
	# The lists may be missing or old.
	"${apt[@]}" update >>"$logs/apt.log" 2>&1 || true
	"${apt[@]}" install --no-install-recommends "$@" >>"$logs/apt.log" 2>&1 && return
	say "apt-get could not install $*; its last words ($logs/apt.log):"
	tail -n 5 "$logs/apt.log" >&2
	return 1
}

# The mirrors in this machine's own apt configuration, with no list fetched yet too; those of security updates have
# no other packages.
debian_mirrors() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 ~ /:\/\// && $2 !~ /security/ && $3 == "main" && !seen[$1]++ { print $1 }'
}

# Removes a tree, even one with directories that keep their owner out.
remove_tree() {
	[ -e "$1" ] || return 0
	[ "$(id -u)" = 0 ] || chmod -R u+rwX "$1"
	rm -rf "$1"
}

# Makes the sample tree of this size once and sets tree to it: make_tree small|full. It is made again when the program
# that makes it is newer.
make_tree() {
	build_sample_tree
	tree=$work/tree-$1
	[ ! "$tree.made" -nt "$sample_tree" ] || return 0
	say "makes the $1 sample tree in ${tree#"$repo"/}"
	rm -f "$tree.made"
	remove_tree "$tree"
	mkdir -p "$work"
	"$sample_tree" make "$tree" --size "$1" || fail "the sample tree could not be made"
	touch "$tree.made"
}

# Compares what a guest's tree-check printed with the host's list: compare_trees DIRECTORY SERIAL-LOG. Sets entries.
compare_trees() {
	local host=$2.host guest=$2.guest
	"$sample_tree" manifest "$1" >"$host" || return 1
	# The kernel may say other things before and after its list; a damaged line shows as a difference.
	tr -d '\r' <"$2" | grep -a -E '^[fdlpsbc] [0-7]{4} ' >"$guest"
	entries=$(wc -l <"$host")
	diff -u --label host --label guest "$host" "$guest" >"$2.diff" && return
	printf 'host and guest do not see the same tree; the first differences:\n'
	head -n 40 "$2.diff" | cut -c 1-300
	return 1
}

# The time since $1 (a value of EPOCHREALTIME) in seconds with one decimal.
seconds_since() {
	local now=${EPOCHREALTIME/[.,]/} then=${1/[.,]/} tenths
	tenths=$(((now - then) / 100000))
	printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}
