#!/usr/bin/env bash
# Real clients through the built binary, in the lab of integration/lab.sh: they
# can reach the proxy and nothing else, names included, so what works has gone
# through it. The access log has to show it, too.
#
#   ./test/integration.sh            all clients
#   ./test/integration.sh git npm    the checks whose name begins so
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=integration/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/integration/lab.sh"
# shellcheck source-path=SCRIPTDIR source=integration/chromium.sh
source "$root/test/integration/chromium.sh"
# shellcheck source-path=SCRIPTDIR source=integration/policy.sh
source "$root/test/integration/policy.sh"
# shellcheck source-path=SCRIPTDIR source=integration/inspect.sh
source "$root/test/integration/inspect.sh"
# shellcheck source-path=SCRIPTDIR source=integration/parents.sh
source "$root/test/integration/parents.sh"
# shellcheck source-path=SCRIPTDIR source=integration/storm.sh
source "$root/test/integration/storm.sh"
only=("$@") tried=0

need openssl curl wget git apt-get dpkg-deb node npm javac ssh scp dropbear dropbearkey nc.openbsd corkscrew connect-proxy certutil chromium /usr/bin/python3

# Node's packages come from their registry, once.
packages=${XDG_CACHE_HOME:-$HOME/.cache}/viaduct-test/node-$(sha256sum <"$root/test/integration/clients/package-lock.json" | head -c 12)
if [[ ! -d $packages ]]; then
	mkdir -p "$(dirname "$packages")" && new=$(mktemp -d "$packages.XXXXXX") || exit 1
	cp "$root"/test/integration/clients/package*.json "$new" || exit 1
	npm ci --prefix "$new" --ignore-scripts --no-audit --no-fund >"$new/log" 2>&1 || die "npm: $(cat "$new/log")"
	mv -T "$new" "$packages" 2>/dev/null || rm -rf "$new" # somebody else was faster
fi
enter "$@"

proxy_at=http://10.0.0.1:3128
ca=$lab/ca.crt office=$lab/office.crt
clients=$root/test/integration/clients

# client runs a program in the client's place, with an environment that says
# nothing about a proxy.
client() {
	ip netns exec client env -i PATH="$PATH" HOME=$lab/home TMPDIR=$lab/tmp LANG=C.UTF-8 timeout -k 5 60 "$@"
}

# says runs a command, whose output has to contain the text.
says() {
	local text=$1 out status
	shift
	out=$("$@" 2>&1)
	status=$?
	[[ $status -eq 0 && $out == *"$text"* ]] && return
	echo "$*: exit code $status"
	echo "wanted: $text"
	head -c 4000 <<<"$out"
	return 1
}

# try runs a check, after which the access log has to have these lines more, and
# no failure.
#
#   try NAME '[METHOD TARGET STATUS[, …]]' FUNCTION [ARGS]
try() {
	local name=$1 lines=$2 word wanted=${#only[@]}
	shift 2
	for word in "${only[@]}"; do
		[[ $name != "$word"* ]] || wanted=0
	done
	[[ $wanted -eq 0 ]] || return
	tried=$((tried + 1))
	report "$name" shown "$lines" "$@"
}

shown() {
	local before lines=$1
	shift
	before=$(wc -l <$lab/access.log)
	if "$@" && within 10 logged "$before" "$lines" && ! news "$before" | faults; then
		return
	fi
	echo "wanted in the access log: $lines"
	news "$before" | tail -n 20
	tail -n 5 $lab/viaduct.err
	return 1
}

# faults shows lines that tell of a failure, but for refusals that are meant. A
# client may end a tunnel as rudely as it likes, and a browser asks for its maker's
# sites.
meant=none
faults() { grep -E '"target":"[^"]*origin.test.*"fault":"[^"]' | grep -vE '"status":'"$meant"',|"method":"CONNECT".*"status":200,"fault":"connection_terminated"'; }

# news are the lines of the access log after the first so many.
news() { tail -n "+$(($1 + 1))" $lab/access.log; }

logged() {
	local line
	[[ -n $2 ]] || return 0
	while IFS= read -r line; do
		news "$1" | sed -E 's/.*"method":"([^"]*)".*"target":"([^"]*)".*"status":([0-9]+).*/\1 \2 \3/' | grep -Fx -- "$line" >/dev/null || return 1 # -q would leave sed without a reader
	done <<<"${2//, /$'\n'}"
}

# told looks for a text in what is new in the access log since the check began.
told() { news "$before" | grep -F -- "$1" >/dev/null; } # -q would leave tail without a reader

# tells runs a command that has to leave a text in the access log: tells TEXT COMMAND…
tells() {
	local text=$1
	shift
	"$@" && within 10 told "$text" && return
	echo "wanted in the access log: $text"
	return 1
}

# sum is the checksum of a file as the origin writes it.
sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# request makes a key and asks for a certificate, or makes one that its key signs.
request() {
	local name=$1
	shift
	openssl req -batch -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" "$@"
}

# authority makes a certificate authority: authority FILE NAME, FILE without its ending.
authority() {
	request "$2" -x509 -days 30 -keyout "$1.key" -out "$1.crt" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}

# certify lets an authority issue a certificate for server or client:
#
#   certify FILE AUTHORITY NAME USE [DAYS [ALTERNATIVE NAMES]]
certify() {
	request "$3" -keyout "$1.key" -out "$1.csr" &&
		openssl x509 -req -days "${5:-30}" -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -out "$1.crt" \
			-extfile <(printf '%s\n' "extendedKeyUsage=$4Auth" ${6:+"subjectAltName=$6"})
}

# certificates makes the authority of the web and that of the office, where the
# proxy stands, and what they issued. A wildcard holds for one label.
certificates() {
	authority $lab/ca 'the lab' && authority $lab/office 'the office' && authority $lab/stranger-ca 'a stranger' &&
		certify $lab/origin $lab/ca origin.test server 30 DNS:origin.test,DNS:*.origin.test &&
		certify $lab/late $lab/ca late server -1 DNS:late.bad.origin.test &&
		certify $lab/stranger $lab/stranger-ca stranger server 30 DNS:stranger.bad.origin.test &&
		certify $lab/proxy $lab/office proxy server 30 IP:10.0.0.1 &&
		certify $lab/named $lab/office proxy.test server 30 DNS:proxy.test &&
		certify $lab/ada $lab/office ada client &&
		certify $lab/intruder $lab/stranger-ca ada client &&
		cat $ca $office >$lab/both.crt
}

with_curl() { client curl -sS --max-time 30 -x $proxy_at --proxy-cacert $office --cacert $ca "$@"; }

curl_says() {
	local text=$1
	shift
	says "$text" with_curl "$@"
}

curl_uploads() {
	local want site=$1
	want=$(sum $lab/large)
	curl_says "$want" --http1.1 -T $lab/large "$site/sum" &&
		curl_says "$want" --http1.1 -T $lab/large -H 'Transfer-Encoding: chunked' "$site/sum" &&
		curl_says "$want" --http1.1 --data-binary @$lab/large "$site/sum" &&
		curl_says "$want" --http1.1 --data-binary @$lab/large -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' "$site/sum"
}

curl_range() {
	curl_says '' -r 1000000-1999999 -o $lab/part http://range.origin.test/large &&
		cmp $lab/part <(tail -c +1000001 $lab/large | head -c 1000000)
}

curl_many() {
	local answers
	answers=$(client curl -Z --parallel-max 50 -x $proxy_at --proxy-cacert $office --cacert $ca "$1/hello?[1-400]" 2>/dev/null | sort | uniq -c) # -s does not silence -Z
	[[ $answers =~ ^\ *400\ hello\ GET\ HTTP/1.1\ many.origin.test$ ]] && return
	echo "$answers"
	return 1
}

with_wget() {
	client env http_proxy=$proxy_at https_proxy=$proxy_at wget -nv --tries=1 --timeout=30 --ca-certificate=$ca "$@"
}

wget_files() {
	local site=$1
	says hello with_wget -O - "$site/hello" &&
		says "$(sum $lab/large)" with_wget -O - --method=PUT --body-file=$lab/large "$site/sum" &&
		head -c 1000000 $lab/large >$lab/got &&
		says '' with_wget -c -O $lab/got "$site/large" && # the rest
		cmp $lab/got $lab/large
}

with_git() { client git -c "http.proxy=$proxy_at" -c "http.proxySSLCAInfo=$office" -c "http.sslCAInfo=$ca" "$@"; }

git_setup() {
	local bare=$lab/www/git/project.git work=$lab/project
	export GIT_CONFIG_GLOBAL=$lab/home/.gitconfig
	printf '[user]\nname = lab\nemail = lab@origin.test\n[safe]\ndirectory = *\n' >$GIT_CONFIG_GLOBAL
	git init -q --bare -b main "$bare" && git -C "$bare" config http.receivepack true &&
		git init -q -b main "$work" && mkdir "$work/files" && split -n 200 $lab/large "$work/files/" &&
		git -C "$work" add . && git -C "$work" commit -q -m first && git -C "$work" push -q "$bare" main
}

# git_both clones, pushes more than fits into one piece (then git sends chunks),
# and clones that. The push keeps to HTTP/1.1: over HTTP/2, libcurl 7.88 now and
# then sends 64 KiB of a body twice, through any relay.
git_both() {
	local site=$1 here=$lab/git/$2
	rm -rf "$here"
	with_git clone -q "$site/git/project.git" "$here/one" &&
		head -c 3000000 /dev/urandom >"$here/one/new" &&
		git -C "$here/one" add new && git -C "$here/one" commit -q -m second &&
		with_git -c http.version=HTTP/1.1 -C "$here/one" push -q origin HEAD:"$2" &&
		with_git clone -q -b "$2" "$site/git/project.git" "$here/two" &&
		cmp "$here/one/new" "$here/two/new"
}

# apt_setup makes a repository of a few packages.
apt_setup() {
	local repo=$lab/www/apt pkg=$lab/package i deb
	mkdir -p $repo $pkg/DEBIAN $pkg/opt
	for i in {1..12}; do
		deb=$repo/lab$i.deb
		printf '%s\n' "Package: lab$i" Version:\ 1 Architecture:\ all 'Maintainer: lab <lab@origin.test>' "Description: package $i" >$pkg/DEBIAN/control
		rm -f $pkg/opt/*
		head -c 50000 /dev/urandom >"$pkg/opt/lab$i"
		dpkg-deb --root-owner-group -b $pkg "$deb" >/dev/null || return 1
		cat $pkg/DEBIAN/control - >>$repo/Packages <<-END
			Filename: ./lab$i.deb
			Size: $(stat -c %s "$deb")
			SHA256: $(sum "$deb")

		END
	done
	printf '%s\n' "Date: $(date -Ru)" SHA256: " $(sum $repo/Packages) $(stat -c %s $repo/Packages) Packages" >$repo/Release
}

# apt_at gives apt a place of its own, with the packages of a site.
apt_at() {
	local here=$lab/apt/$1
	mkdir -p "$here"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial,log,root/var/lib/dpkg/{info,updates,triggers}}
	: >"$here/root/var/lib/dpkg/status"
	echo "deb [trusted=yes] $2/apt ./" >"$here/etc/sources.list"
	cat >"$here/apt.conf" <<-END
		Dir::Etc "$here/etc";
		Dir::State "$here/state";
		Dir::State::status "$here/root/var/lib/dpkg/status";
		Dir::Cache "$here/cache";
		Dir::Log "$here/log";
		Acquire::http::Proxy "$proxy_at";
		Acquire::https::CAInfo "$ca";
		APT::Sandbox::User "root";
		DPkg::Options {"--root=$here/root"; "--force-not-root"; "--force-script-chrootless";};
	END
}

with_apt() {
	local here=$lab/apt/$1
	shift
	client env APT_CONFIG="$here/apt.conf" DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

# apt_installs installs the packages of a site. apt asks for them without waiting
# for answers: ten at a time.
apt_installs() {
	local i
	apt_at "$1" "$2" &&
		says '' with_apt "$1" update &&
		says 'Setting up lab12' with_apt "$1" -y install lab{1..12} &&
		for i in {1..12}; do
			[[ -s $lab/apt/$1/root/opt/lab$i ]] || return 1
		done
}

# npm_setup makes a registry of two packages, one needing the other.
npm_setup() {
	local name needs pack=$lab/npm/package
	mkdir -p $pack $lab/www/npm
	for name in tiny tinier; do
		needs='{}'
		[[ $name == tinier ]] || needs='{"tinier": "^1.0.0"}'
		echo "{\"name\": \"$name\", \"version\": \"1.0.0\", \"dependencies\": $needs}" >$pack/package.json
		echo "module.exports = '$name'" >$pack/index.js
		tar -C $lab/npm -czf $lab/www/npm/$name-1.0.0.tgz package || return 1
		cat >$lab/www/npm/$name.json <<-END
			{"name": "$name", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {
			  "name": "$name", "version": "1.0.0", "dependencies": $needs, "dist": {
			    "tarball": "SITE/npm/$name-1.0.0.tgz",
			    "integrity": "sha512-$(openssl dgst -sha512 -binary $lab/www/npm/$name-1.0.0.tgz | base64 -w 0)"}}}}
		END
	done
}

npm_installs() {
	local site=$1 here=$lab/npm/${1//[:\/]/-} name
	for name in tiny tinier; do
		sed "s|SITE|$site|" $lab/www/npm/$name.json >$lab/www/npm/$name
	done
	mkdir -p "$here"
	says '' client env npm_config_proxy=$proxy_at npm_config_https_proxy=$proxy_at npm_config_cafile=$ca npm_config_cache="$here/cache" \
		npm install --prefix "$here" --registry "$site/npm/" --no-audit --no-fund --no-update-notifier --fetch-retries 0 tiny &&
		[[ -s $here/node_modules/tinier/index.js ]]
}

# program runs one of clients/: it asks for greetings and sends 8 MiB twice, by
# http and by https.
#
#   program SITE GREETINGS COMMAND…
program() {
	local site=$1 greetings=$2 out
	shift 2
	out=$("$@" 2>&1) &&
		[[ $(grep -Ec "hello GET HTTP/[12].[01] $site\$" <<<"$out") -eq $greetings ]] &&
		[[ $(grep -c "$(sum $lab/text)" <<<"$out") -eq 2 ]] && return
	echo "$out"
	return 1
}

program_lines() {
	echo "GET http://$1/hello 200, POST http://$1/sum 200, CONNECT $1:443 200"
}

# with_node and with_python ask the site that is named after the client, or another.
with_node() {
	client env NODE_EXTRA_CA_CERTS=$ca NODE_HOME="$packages" node "$clients/client.mjs" "$1" $proxy_at "${2:-$1.origin.test}"
}

with_python() { client /usr/bin/python3 "$clients/client.py" "$1" $proxy_at $ca "${2:-$1.origin.test}"; }

# with_java: SITE [USER PASSWORD]. Java sends no password for a tunnel unless it is
# told to.
with_java() {
	client java -XX:-UsePerfData -XX:TieredStopAtLevel=1 -Djdk.http.auth.tunneling.disabledSchemes= "$clients/Client.java" 10.0.0.1 3128 $ca "$@"
}

with_go() { client $lab/clients $proxy_at $ca "$1"; }

# ssh_setup starts a server that lets the lab's key in. It is no root there,
# because not every root of a lab may change its groups.
ssh_setup() {
	local home=$lab/ssh
	mkdir -p $home/.ssh && chmod 700 $home $home/.ssh &&
		ssh-keygen -q -t ed25519 -N '' -f $lab/key && cp $lab/key.pub $home/.ssh/authorized_keys &&
		dropbearkey -t ed25519 -f $lab/host_key >$lab/host_key.pub 2>&1 &&
		sed -n 's/^ssh-ed25519/[ssh.origin.test]:2222 &/p' $lab/host_key.pub >$lab/known_hosts &&
		echo "lab:x:1000:1000::$home:/bin/sh" >$lab/passwd || return 1
	ip netns exec origin sh -c "mount --bind $lab/passwd /etc/passwd && exec unshare --user --map-user=1000 --map-group=1000 \
		dropbear -F -E -s -p 93.184.216.34:2222 -r $lab/host_key" >$lab/ssh.log 2>&1 &
}

ssh_by() {
	local options=(-F none -o Port=2222 -i "$lab/key" -o "ProxyCommand=$*" -o IdentitiesOnly=yes -o BatchMode=yes -o "UserKnownHostsFile=$lab/known_hosts")
	rm -f $lab/there $lab/back
	says "$(sum $lab/large)" client ssh "${options[@]}" lab@ssh.origin.test "sha256sum <$lab/large" &&
		says '' client scp "${options[@]}" $lab/large lab@ssh.origin.test:$lab/there &&
		says '' client scp "${options[@]}" lab@ssh.origin.test:$lab/there $lab/back &&
		cmp $lab/large $lab/back
}

# closed checks that the client has no way but the proxy.
closed() {
	! client curl -s --max-time 5 http://93.184.216.34/hello && ! client getent hosts curl.origin.test
}

came_from_proxy() {
	! grep ^open $lab/origin.log | grep -vE '^open (93\.184\.216\.1|\[2606:2800::1\]):'
}

certificates >$lab/output 2>&1 || die "openssl: $(cat $lab/output)"
head -c 8388608 /dev/urandom >$lab/large
yes 'viaduct ' 2>/dev/null | tr -d '\n' | head -c 8388608 >$lab/text
cp $lab/large $lab/www/large
{ git_setup && apt_setup && npm_setup && chromium_setup && ssh_setup; } >$lab/output 2>&1 || die "$(cat $lab/output)"
origin -certs $lab/origin,$lab/late,$lab/stranger origin.test=93.184.216.34,2606:2800::34
forward --connect-ports 80,443,2222 --upstream-idle-timeout 2s || exit 1
base=$(sockets)

report 'lab: no way round the proxy' closed
try 'curl: http' 'GET http://curl.origin.test/hello 200' curl_says 'hello GET HTTP/1.1 curl.origin.test' http://curl.origin.test/hello
try 'curl: http/1.0' 'GET http://curl.origin.test/hello 200' curl_says 'hello GET HTTP/1.1 curl.origin.test' -0 http://curl.origin.test/hello
try 'curl: proxy at an IPv6 address' 'GET http://curl.origin.test/hello 200' curl_says 'hello GET' -x 'http://[fd00::1]:3128' http://curl.origin.test/hello
try 'curl: --proxytunnel' 'CONNECT curl.origin.test:80 200' curl_says 'hello GET HTTP/1.1' -p http://curl.origin.test/hello
try 'curl: https' 'CONNECT curl.origin.test:443 200' curl_says 'hello GET HTTP/1.1' --http1.1 https://curl.origin.test/hello
try 'curl: HTTP/2 in a tunnel' 'CONNECT curl.origin.test:443 200' curl_says 'hello GET HTTP/2.0' --http2 https://curl.origin.test/hello
try 'curl: CONNECT by HTTP/1.0' 'CONNECT curl.origin.test:443 200' curl_says 'hello GET HTTP/2.0' --proxy1.0 10.0.0.1:3128 https://curl.origin.test/hello
try 'curl: uploads by http' 'PUT http://up.origin.test/sum 200, POST http://up.origin.test/sum 200' curl_uploads http://up.origin.test
try 'curl: uploads by https' 'CONNECT up.origin.test:443 200' curl_uploads https://up.origin.test
try 'curl: a range' 'GET http://range.origin.test/large 206' curl_range
try 'curl: 400 requests, 50 at a time' 'GET http://many.origin.test/hello 200' curl_many http://many.origin.test
try 'wget: http' 'GET http://wget.origin.test/hello 200, PUT http://wget.origin.test/sum 200, GET http://wget.origin.test/large 206' wget_files http://wget.origin.test
try 'wget: https' 'CONNECT wget.origin.test:443 200' wget_files https://wget.origin.test
try 'git: clone and push by http' 'POST http://git.origin.test/git/project.git/git-receive-pack 200' git_both http://git.origin.test http
try 'git: clone and push by https' 'CONNECT git.origin.test:443 200' git_both https://git.origin.test https
try 'apt: http' 'GET http://apt-http.origin.test/apt/lab12.deb 200' apt_installs http http://apt-http.origin.test
try 'apt: https' 'CONNECT apt-https.origin.test:443 200' apt_installs https https://apt-https.origin.test
try 'npm: http' 'GET http://npm.origin.test/npm/tinier-1.0.0.tgz 200' npm_installs http://npm.origin.test
try 'npm: https' 'CONNECT npm.origin.test:443 200' npm_installs https://npm.origin.test
try 'node: core' "$(program_lines core.origin.test)" program core.origin.test 2 with_node core
try 'node: https-proxy-agent' 'CONNECT https-proxy-agent.origin.test:80 200, CONNECT https-proxy-agent.origin.test:443 200' program https-proxy-agent.origin.test 2 with_node https-proxy-agent
try 'node: undici 6' 'CONNECT undici.origin.test:80 200, CONNECT undici.origin.test:443 200' program undici.origin.test 2 with_node undici
# The newest undici asks for Node 20.18, Debian 12 has Node 18.
node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || major === 20 && minor >= 18 ? 0 : 1)' &&
	try 'node: undici 7' 'CONNECT undici7.origin.test:443 200' program undici7.origin.test 2 with_node undici7
try 'python: urllib' "$(program_lines urllib.origin.test)" program urllib.origin.test 2 with_python urllib
try 'python: requests' "$(program_lines requests.origin.test)" program requests.origin.test 2 with_python requests
try 'python: httpx' "$(program_lines httpx.origin.test)" program httpx.origin.test 2 with_python httpx
try 'java: HttpClient and URLConnection' "$(program_lines java.origin.test)" program java.origin.test 4 with_java java.origin.test
try 'go: net/http' "$(program_lines go.origin.test)" program go.origin.test 2 with_go go.origin.test
try 'chromium: http' 'GET http://www.origin.test/page.html 200, CONNECT www.origin.test:80 200' chromium_shows http://www.origin.test 1.1 browse
try 'chromium: https' 'CONNECT www.origin.test:443 200' chromium_shows https://www.origin.test 2.0 browse
try 'ssh: nc' 'CONNECT ssh.origin.test:2222 200' ssh_by nc.openbsd -X connect -x 10.0.0.1:3128 %h %p
try 'ssh: corkscrew' 'CONNECT ssh.origin.test:2222 200' ssh_by corkscrew 10.0.0.1 3128 %h %p
try 'ssh: connect-proxy' 'CONNECT ssh.origin.test:2222 200' ssh_by connect-proxy -H 10.0.0.1:3128 %h %p

report 'origin: saw nobody but the proxy' came_from_proxy
report 'viaduct: no socket is left' within 30 has_sockets "$base"
stop
report 'viaduct: ends well' ended_well
logins
denials
doors
inspections
parents
[[ $tried -gt 0 ]] || die "no check's name begins with any of: ${only[*]}"
summary
