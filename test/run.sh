#!/usr/bin/env bash
# Sets up what the tests need, and passes them all. From any folder:
#
#   ./test/run.sh              everything, as CI does
#   ./test/run.sh lint test    these stages, of: format vet lint test race
#                              clients egress fuzz bench
#
# VIADUCT_FUZZTIME=10m fuzzes every target for that long instead of 3s.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
exec </dev/null
export GOWORK=off

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0 broken=()

# setup installs what is missing. With all of it there it says nothing.
setup() {
	local missing=() tool package
	command -v go >/dev/null || {
		echo "go is missing: install Go 1.26 (https://go.dev/doc/install)" >&2
		return 1
	}
	command -v "$(go env CC)" >/dev/null || missing+=(gcc libc6-dev) # the race detector is C
	while read -r tool package; do
		command -v "$tool" >/dev/null || missing+=("$package")
	done <<-'END'
		curl curl
		wget wget
		git git
		node nodejs
		npm npm
		javac openjdk-17-jdk-headless
		chromium chromium
		certutil libnss3-tools
		openssl openssl
		ssh openssh-client
		/usr/lib/sftp-server openssh-sftp-server
		dropbear dropbear-bin
		nc.openbsd netcat-openbsd
		corkscrew corkscrew
		connect-proxy connect-proxy
		squid squid
		tinyproxy tinyproxy
		danted dante-server
		microsocks microsocks
		nghttpx nghttp2-proxy
		/usr/bin/python3 python3
		ip iproute2
		mount mount
		setpriv util-linux
		dpkg-deb dpkg
	END
	/usr/bin/python3 -c 'import requests, httpx' 2>/dev/null || missing+=(python3-requests python3-httpx)
	[[ ${#missing[@]} -eq 0 ]] && return 0

	local root=()
	[[ $(id -u) -eq 0 ]] || root=(sudo -n)
	if ! command -v apt-get >/dev/null || ! "${root[@]}" true 2>/dev/null; then
		echo "missing: ${missing[*]}; install them, or run this once as root on Debian or Ubuntu" >&2
		return 1
	fi
	echo "installing ${missing[*]}"
	local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
	if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$work/apt" 2>&1; then
		cat "$work/apt" >&2
		return 1
	fi
}

# tool prints the path of a tool of tools/go.mod. Go builds it on first use and
# keeps it in its build cache: golangci-lint takes a few minutes once.
tool() { go -C tools tool -n "$1"; }

stage_format() {
	local gofumpt files
	gofumpt=$(tool gofumpt) || return 1
	files=$("$gofumpt" -l .) || return 1
	if [[ -n $files ]]; then
		printf 'gofumpt -w %s\n' $files
		return 1
	fi
	go mod tidy -diff
}

stage_vet() { go vet ./...; }

stage_lint() {
	local lint
	lint=$(tool golangci-lint) || return 1
	"$lint" run ./...
}

# What counts allocations and memory is true without the race detector only.
stage_test() { gotest ./...; }

stage_race() { VIADUCT_RACE=1 gotest -race ./...; }

# gotest runs tests and counts them. It shows a line a package, and of what
# failed everything.
gotest() {
	local log=$work/test status
	go test -vet=off -timeout 15m -count=1 -shuffle=on -v "$@" 2>&1 | tee "$log" | { grep --line-buffered -E '^(ok|FAIL)\s.*\s[0-9.]+s$' || true; }
	status=${PIPESTATUS[0]}
	passed=$((passed + $(grep -cE '^ *--- PASS' "$log")))
	failed=$((failed + $(grep -cE '^ *--- FAIL' "$log")))
	skipped=$((skipped + $(grep -cE '^ *--- SKIP' "$log")))
	[[ $status -eq 0 ]] || sed -E '/^ *(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP))/d; /^(ok|PASS|\?)/d' "$log"
	return "$status"
}

# Inputs that fuzzing finds interesting stay in Go's build cache; one that fails
# is written to testdata/fuzz of its room, to be kept as a test. Targets run side
# by side, one processor each.
stage_fuzz() {
	local pkg name n=0 found=$work/fuzz
	mkdir -p "$found"
	go test -vet=off -list '^Fuzz' ./... >"$work/list" 2>&1 || {
		cat "$work/list"
		return 1
	}
	while read -r pkg name; do
		[[ $((n++)) -lt $(nproc) ]] || wait -n
		target "$pkg" "$name" >"$found/$name.$n" &
	done < <(awk '/^Fuzz/ {names = names " " $1} /^ok/ {n = split(names, a, " "); for (i = 1; i <= n; i++) print $2, a[i]; names = ""}' "$work/list")
	wait
	cat "$found"/*
	passed=$((passed + $(cat "$found"/* | grep -c '^ok')))
	failed=$((failed + $(cat "$found"/* | grep -c '^FAIL')))
	! grep -q '^FAIL' "$found"/*
}

# target fuzzes one target and says how that ended.
target() {
	local log
	if log=$(fuzz "$1" "$2" 2>&1); then
		echo "ok	$1	$2	$(grep -oE 'execs: [0-9]+' <<<"$log" | tail -n 1)"
	else
		echo "FAIL	$1	$2"
		echo "$log"
	fi
}

# Real clients, and where connections leave from.
stage_clients() { counted ./test/integration.sh; }
stage_egress() { counted ./test/netns.sh; }

# counted runs a script that prints a line a check, and counts them.
counted() {
	local log=$work/counted status
	"$@" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	passed=$((passed + $(grep -c '^ok ' "$log")))
	failed=$((failed + $(grep -c '^FAIL ' "$log")))
	return "$status"
}

# The benchmark is a module of its own; here it only has to work.
stage_bench() {
	local status=0
	pushd test/bench >/dev/null || return 1
	go vet ./... && gotest ./... || status=1
	popd >/dev/null || return 1
	return "$status"
}

# fuzz runs one target. Go 1.26 now and then takes the end of the time for a
# failure (go.dev/issue/75804, cured in 1.27): that is tried again, twice.
fuzz() {
	local try log=$work/$2.log
	for try in 1 2 3; do
		go test -vet=off -run '^$' -fuzz "^$2\$" -fuzztime "${VIADUCT_FUZZTIME:-3s}" -parallel 1 "$1" >"$log" 2>&1 && break
		if [[ $try -eq 3 ]] || ! grep -qx ' *context deadline exceeded' "$log" || grep -q 'Failing input' "$log"; then
			cat "$log"
			return 1
		fi
	done
	cat "$log"
}

# run runs a stage and shows how long it took.
run() {
	local begun=$SECONDS
	echo "== $1"
	"stage_$1" || broken+=("$1")
	echo "   $((SECONDS - begun)) s"
}

all=(format vet lint test race clients egress fuzz bench)
stages=("$@")
[[ $# -gt 0 ]] || stages=("${all[@]}")
for s in "${stages[@]}"; do
	declare -F "stage_$s" >/dev/null || {
		echo "no stage $s: ${all[*]}" >&2
		exit 1
	}
done

setup || exit 1
ulimit -n "$(ulimit -Hn)" 2>/dev/null # thousands of tunnels
tree=$(git status --porcelain 2>/dev/null)
for s in "${stages[@]}"; do run "$s"; done

# In CI nobody else works in the tree, so what is new there was left by a test.
if [[ ${CI:-} == true && $(git status --porcelain 2>/dev/null) != "$tree" ]]; then
	broken+=(tidiness)
	echo "the tests left files in the tree:"
	git status --porcelain
fi

[[ ${#broken[@]} -eq 0 ]] || echo "failed: ${broken[*]}"
[[ $failed -gt 0 || ${#broken[@]} -eq 0 ]] || failed=${#broken[@]}
[[ $((passed + failed)) -eq 0 ]] || echo "$passed passed, $failed failed$([[ $skipped -eq 0 ]] || echo ", $skipped skipped")"
[[ ${#broken[@]} -eq 0 ]]
