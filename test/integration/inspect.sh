# shellcheck shell=bash disable=SC2154 # the names of integration.sh
# What integration.sh checks of TLS: between clients and the proxy, and in
# tunnels that the proxy opens. There clients trust our authority and no other,
# so what they get by https was opened, or it is refused.

# exits runs a command that has to end with this code: exits CODE COMMAND…
exits() {
	local want=$1 status
	shift
	"$@"
	status=$?
	[[ $status -eq $want ]] && return
	echo "$*: exit code $status, wanted $want"
	return 1
}

curl_by_tls() {
	curl_says 'hello GET HTTP/1.1 curl.origin.test' http://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/2.0 curl.origin.test' --http2 https://curl.origin.test/hello
}

# curl_proves has a certificate for the proxy.
curl_proves() {
	local as_ada=(--proxy-cert $lab/ada.crt --proxy-key $lab/ada.key)
	tells '"user":"ada"' curl_says 'hello GET' "${as_ada[@]}" http://ada.origin.test/hello &&
		tells '"user":"ada"' curl_says 'hello GET HTTP/2.0' "${as_ada[@]}" https://ada.origin.test/hello
}

# curl_intrudes has one of somebody else, with a good name in it.
curl_intrudes() {
	fails 'curl: (' with_curl --proxy-cert $lab/intruder.crt --proxy-key $lab/intruder.key http://curl.origin.test/hello && ! told '"user":"ada"'
}

# shows looks at whom s_client meets: shows TEXT ARGS… of s_client.
shows() {
	local text=$1
	shift
	says "$text" client openssl s_client -brief "$@" </dev/null
}

shows_by_name() {
	shows 'Peer certificate: CN = proxy.test' -connect 10.0.0.1:3443 -servername proxy.test &&
		shows $'Peer certificate: CN = proxy\n' -connect 10.0.0.1:3443 -servername elsewhere.test
}

# doors are the checks of TLS to the proxy. It shows a certificate of the office,
# and the sites have theirs from another authority; most programs know one list.
doors() {
	local base meant='40[037]' proxy_at=https://10.0.0.1:3443 trusted=https://10.0.0.1:3444 ca=$lab/both.crt
	cat >$lab/viaduct.yaml <<-END
		log: {access: {path: $lab/access.log}}
		forward:
		  - listen: ['10.0.0.1:3128', 'https://10.0.0.1:3443']
		    tls: {cert: [$lab/proxy.crt, $lab/named.crt], key: [$lab/proxy.key, $lab/named.key]}
		    open: true
		    connect_ports: [80, 443]
		    upstream_idle_timeout: 2s
		  - listen: https://10.0.0.1:3444
		    tls: {cert: $lab/proxy.crt, key: $lab/proxy.key, client_ca: $office}
		    users: $lab/users
		    contact: $contact
		    rules: [{name: no-games, deny: {user: ada, host: games.origin.test}}]
		    connect_ports: [80, 443]
		    upstream_idle_timeout: 2s
	END
	viaduct run -c $lab/viaduct.yaml || exit 1
	base=$(sockets)
	try 'tls: curl' 'GET http://curl.origin.test/hello 200, CONNECT curl.origin.test:443 200' curl_by_tls
	try 'tls: curl, beside it without' 'GET http://curl.origin.test/hello 200' curl_says 'hello GET' -x http://10.0.0.1:3128 http://curl.origin.test/hello
	try 'tls: curl uploads by http' 'PUT http://up.origin.test/sum 200, POST http://up.origin.test/sum 200' curl_uploads http://up.origin.test
	try 'tls: curl uploads by https' 'CONNECT up.origin.test:443 200' curl_uploads https://up.origin.test
	try 'tls: curl, 400 requests, 50 at a time' 'GET http://many.origin.test/hello 200' curl_many http://many.origin.test
	try 'tls: curl does not trust the proxy' '' exits 60 with_curl --proxy-cacert $lab/ca.crt http://curl.origin.test/hello
	try 'tls: curl forgets TLS' '' curl_says 400 -o /dev/null -w '%{http_code}' -x http://10.0.0.1:3443 http://curl.origin.test/hello
	try 'tls: a certificate for each name' '' shows_by_name
	try 'tls: git' 'POST http://git.origin.test/git/project.git/git-receive-pack 200' git_both http://git.origin.test http-tls
	try 'tls: git by https' 'CONNECT git.origin.test:443 200' git_both https://git.origin.test https-tls
	try 'tls: apt' 'GET http://apt.origin.test/apt/lab12.deb 200' apt_installs tls http://apt.origin.test
	try 'tls: npm by https' 'CONNECT npm-tls.origin.test:443 200' npm_installs https://npm-tls.origin.test
	try 'tls: node core' "$(program_lines core.origin.test)" program core.origin.test 2 with_node core
	try 'tls: node https-proxy-agent' 'CONNECT https-proxy-agent.origin.test:443 200' program https-proxy-agent.origin.test 2 with_node https-proxy-agent
	try 'tls: node undici 6' 'CONNECT undici.origin.test:443 200' program undici.origin.test 2 with_node undici
	try 'tls: python requests' "$(program_lines requests.origin.test)" program requests.origin.test 2 with_python requests
	try 'tls: go' "$(program_lines go.origin.test)" program go.origin.test 2 with_go go.origin.test
	try 'tls: chromium by http' 'GET http://www.origin.test/page.html 200, CONNECT www.origin.test:80 200' chromium_shows http://www.origin.test 1.1 browse
	try 'tls: chromium by https' 'CONNECT www.origin.test:443 200' chromium_shows https://www.origin.test 2.0 browse
	proxy_at=$trusted
	try 'tls: curl, a certificate of its own' 'GET http://ada.origin.test/hello 200, CONNECT ada.origin.test:443 200' curl_proves
	try 'tls: curl, a rule for it' 'GET http://games.origin.test/hello 403' curl_says "$sentence" --proxy-cert $lab/ada.crt --proxy-key $lab/ada.key http://games.origin.test/hello
	try 'tls: curl, a certificate of somebody else' '' curl_intrudes
	try 'tls: curl, a password instead' 'GET http://curl.origin.test/hello 200, CONNECT curl.origin.test:443 200' tells "\"user\":\"$as_logged\"" curl_logs_in
	try 'tls: curl, neither' 'GET http://curl.origin.test/hello 407, CONNECT curl.origin.test:443 407' curl_is_refused
	try 'tls: chromium, a password' 'CONNECT www.origin.test:443 407, CONNECT www.origin.test:443 200' chromium_shows https://www.origin.test 2.0 log_in "$password"
	report 'tls: the log tells no password' no_secrets
	ends tls "$base"
}

# our_own makes our authority, once.
our_own() {
	local print at=$lab/authority
	$lab/viaduct ca init $at --name 'the proxy' --days 30 >$lab/said || return 1
	cat $lab/said
	print=$(openssl x509 -in $at/ca.crt -noout -fingerprint -sha256)
	tr -d ': \n' <$lab/said | grep -iF "$(tr -d : <<<"${print#*=}")" >/dev/null || echo 'wanted the fingerprint'
	[[ $(stat -c %a $at $at/ca.key $at/ca.crt | xargs) == '755 600 644' ]] &&
		exits 1 $lab/viaduct ca init $at && openssl x509 -in $at/ca.crt -noout -checkend 2500000 && ! openssl x509 -in $at/ca.crt -noout -checkend 2600000
}

curl_is_opened() {
	tells '"inspect":"open-sites"' curl_says 'issuer: CN=the proxy' -v https://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/1.1 curl.origin.test' --http2 https://curl.origin.test/hello &&
		says 'CN = the proxy' client openssl s_client -proxy 10.0.0.1:3128 -connect curl.origin.test:443 -servername curl.origin.test </dev/null
}

# curl_pins knows the key of the origin: 90 is curl's word for another one. It may
# trust either authority, so that nothing but the key is left to complain of.
curl_pins() {
	local pin
	pin=sha256//$(openssl x509 -in $lab/origin.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64)
	exits 90 with_curl --cacert $lab/either.crt --pinnedpubkey "$pin" https://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/2.0' --cacert $lab/either.crt --pinnedpubkey "$pin" https://bank.origin.test/hello
}

curl_is_filtered() {
	local site=$1 out
	out=$(with_curl -i -A 'curl/7.88 (lab)' -b secret=1 -H 'X-Team: none' -H 'x-team: some' "$site/seen") || return 1
	echo "$out"
	grep -qx $'X-Team: payments\r' <<<"$out" && grep -qx $'User-Agent: curl\r' <<<"$out" && grep -qx $'X-Frame-Options: DENY\r' <<<"$out" &&
		! grep -iE 'cookie|none|some|x-powered-by' <<<"$out"
}

# plain_goes_on: what is not asked for, stays closed.
plain_goes_on() {
	curl_says 'hello GET' http://plain.origin.test/hello && curl_says 'hello GET' -p http://plain.origin.test/hello
}

curl_meets_rule() {
	curl_says "$sentence" "$1/games/chess" && curl_says 'hello GET' "$1/hello"
}

# opened are the lines of a program whose tunnels are opened.
opened() { echo "$(program_lines "$1"), GET https://$1/hello 200, POST https://$1/sum 200"; }

# inspections are the checks of tunnels that are opened.
inspections() {
	local base meant='(403|413|502)' site=games.origin.test broken=bad.origin.test ca=$lab/authority/ca.crt nss=sql:$lab/home/.pki/nssdb
	report 'inspect: an authority' our_own
	cat $ca $lab/ca.crt >$lab/either.crt
	{ certutil -d $nss -D -n lab && certutil -d $nss -D -n office && chromium_trusts proxy $ca && cp $lab/large $lab/www/paper.pdf; } >$lab/output 2>&1 || die "$(cat $lab/output)"
	from_file <<-END || exit 1
		listen: ['10.0.0.1:3128', 'https://10.0.0.1:3443']
		tls: {cert: $lab/proxy.crt, key: $lab/proxy.key}
		open: true
		ca: $lab/authority
		origin_ca: $lab/ca.crt
		inspect:
		  - {name: bank, pass: {host: bank.origin.test}}
		  - {name: open-sites, decrypt: {host: [.origin.test], port: 443}}
		rules:
		  - {name: no-games, deny: {host: $site, path: /games}}
		filters:
		  - match: {host: filter.origin.test, path: /seen}
		    request: {set: ['X-Team: payments'], remove: [Cookie], replace: [{header: User-Agent, match: 'curl/.*', with: curl}]}
		    answer: {set: ['X-Frame-Options: DENY'], remove: [X-Powered-By]}
		  - {name: no-papers, match: {host: filter.origin.test}, deny: {answer_type: application/pdf}}
		  - {name: small-uploads, match: {host: filter.origin.test}, deny: {request_size: 1MiB}}
		  - {match: {host: old.origin.test}, redirect: {to: 'https://new.origin.test', keep_path: true, status: 308}}
		  - {match: {host: canned.origin.test}, respond: {status: 410, body: "gone for good\n"}}
	END
	base=$(sockets)
	try 'inspect: curl' 'CONNECT curl.origin.test:443 200, GET https://curl.origin.test/hello 200' curl_is_opened
	try 'inspect: curl by TLS to the proxy' 'GET https://curl.origin.test/hello 200' curl_says 'hello GET' -x https://10.0.0.1:3443 https://curl.origin.test/hello
	try 'inspect: curl uploads' 'PUT https://up.origin.test/sum 200, POST https://up.origin.test/sum 200' curl_uploads https://up.origin.test
	try 'inspect: curl, 400 requests, 50 at a time' 'GET https://many.origin.test/hello 200' curl_many https://many.origin.test
	meant='200,"fault":"tls_[a-z_]*"' try 'inspect: curl does not trust us' 'CONNECT curl.origin.test:443 200' exits 60 with_curl --cacert $lab/ca.crt https://curl.origin.test/hello
	try 'inspect: curl knows a key' 'CONNECT bank.origin.test:443 200' curl_pins
	try 'inspect: curl speaks no TLS' 'GET http://plain.origin.test/hello 200, CONNECT plain.origin.test:80 200' plain_goes_on
	try 'inspect: curl, a rule inside' "GET https://$site/games/chess 403, GET https://$site/hello 200" curl_meets_rule https://$site
	try 'inspect: curl, an origin whose certificate has expired' "GET https://late.$broken/hello 502" curl_says 'certificate of the destination has expired' https://late.$broken/hello
	try 'inspect: wget' 'GET https://wget.origin.test/hello 200, PUT https://wget.origin.test/sum 200, GET https://wget.origin.test/large 206' wget_files https://wget.origin.test
	try 'inspect: git' 'POST https://git.origin.test/git/project.git/git-receive-pack 200' git_both https://git.origin.test opened
	try 'inspect: apt' 'GET https://apt.origin.test/apt/lab12.deb 200' apt_installs opened https://apt.origin.test
	try 'inspect: npm' 'GET https://npm-opened.origin.test/npm/tinier-1.0.0.tgz 200' npm_installs https://npm-opened.origin.test
	try 'inspect: node https-proxy-agent' 'GET https://https-proxy-agent.origin.test/hello 200' program https-proxy-agent.origin.test 2 with_node https-proxy-agent
	try 'inspect: node undici 6' 'POST https://undici.origin.test/sum 200' program undici.origin.test 2 with_node undici
	try 'inspect: python requests' "$(opened requests.origin.test)" program requests.origin.test 2 with_python requests
	try 'inspect: python httpx' "$(opened httpx.origin.test)" program httpx.origin.test 2 with_python httpx
	try 'inspect: java' "$(opened java.origin.test)" program java.origin.test 4 with_java java.origin.test
	try 'inspect: go' "$(opened go.origin.test)" program go.origin.test 2 with_go go.origin.test
	try 'inspect: chromium and a WebSocket' 'GET https://www.origin.test/page.html 200, GET https://www.origin.test/echo 101' chromium_shows https://www.origin.test 1.1 browse
	try 'inspect: chromium, a rule inside' "GET https://$site/games/ 403" page_shows "<title>403 Forbidden</title>"$'\n>no-games<\n'">$contact<" browse https://$site/games/
	try 'inspect: chromium, a certificate that has expired' "GET https://late.$broken/ 502" page_shows '<title>502 Bad Gateway</title>'$'\nhas expired' browse https://late.$broken/
	try 'inspect: chromium, a certificate of an unknown authority' "GET https://stranger.$broken/ 502" page_shows '<title>502 Bad Gateway</title>'$'\nunknown authority' browse https://stranger.$broken/
	try 'inspect: chromium, a certificate for another name' "GET https://other.$broken/ 502" page_shows '<title>502 Bad Gateway</title>'$'\nanother name' browse https://other.$broken/
	try 'filter: curl, fields' 'GET http://filter.origin.test/seen 200' curl_is_filtered http://filter.origin.test
	try 'filter: curl, fields inside' 'GET https://filter.origin.test/seen 200' curl_is_filtered https://filter.origin.test
	try 'filter: curl, a kind of download' 'GET https://filter.origin.test/paper.pdf 403' tells '"rule":"no-papers"' curl_says 'The rule that decided is no-papers' https://filter.origin.test/paper.pdf
	try 'filter: curl, a large upload' 'PUT https://filter.origin.test/sum 413' tells '"rule":"small-uploads"' curl_says 413 -o /dev/null -w '%{http_code}' -T $lab/large https://filter.origin.test/sum
	try 'filter: curl, another place' 'GET http://old.origin.test/hello 308, GET https://new.origin.test/hello 200' curl_says 'hello GET HTTP/1.1 new.origin.test' -L http://old.origin.test/hello
	try 'filter: chromium, an answer of ours' 'GET https://canned.origin.test/ 410' page_shows 'gone for good' browse https://canned.origin.test/
	ends inspect "$base"
}
