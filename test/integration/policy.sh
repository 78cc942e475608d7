# shellcheck shell=bash disable=SC2154 # the names of integration.sh
# What integration.sh checks of clients that have to say who they are, and of
# those that are denied something: each has to get by with the proxy's answers,
# and to show as much of the reason as it can.

# A name and a password that are hard to write, and the same in a URL. Some
# clients know no letters beyond Latin-1, and get along with the second user.
user=zoë password='gr:ün €/@%'
login=zo%C3%AB:gr%3A%C3%BCn%20%E2%82%AC%2F%40%25
plain=lab:secret
as_logged='zo\u00C3\u00AB' # the bytes of the name

contact='ask Ada, ada@origin.test'
# The reason in the status line of a refused CONNECT, and the sentence in a body.
reason="(http_request_denied: rule no-games; $contact)"
sentence="The rule that decided is no-games. Questions: $contact"

# from_file runs the proxy from a file with these lines in its entry.
from_file() {
	{
		echo "log: {access: {path: $lab/access.log}}"
		echo "forward:"
		echo "  - connect_ports: [80, 443, 2222]"
		echo "    upstream_idle_timeout: 2s"
		echo "    contact: $contact"
		sed 's/^/    /'
	} >$lab/viaduct.yaml
	viaduct run -c $lab/viaduct.yaml
}

# as runs a check whose clients have a login in the proxy's URL.
as() {
	local proxy_at=${proxy_at/:\/\//://$1@}
	shift
	"$@"
}

# fails runs a command that has to fail, and to show a text: fails TEXT COMMAND…
fails() {
	local text=$1 out status
	shift
	out=$("$@" 2>&1)
	status=$?
	[[ $status -ne 0 && $out == *"$text"* ]] && return
	echo "$*: exit code $status"
	echo "wanted a failure and: $text"
	head -c 4000 <<<"$out"
	return 1
}

curl_logs_in() {
	curl_says 'hello GET HTTP/1.1' --proxy-user "$user:$password" http://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/2.0' --proxy-user "$user:$password" https://curl.origin.test/hello &&
		as "$login" curl_says 'hello GET HTTP/2.0' https://curl.origin.test/hello
}

# curl_is_asked does not send the password before it is asked for it.
curl_is_asked() {
	local want
	want=$(sum $lab/large)
	curl_says 'hello GET HTTP/1.1' --proxy-anyauth --proxy-user "$user:$password" http://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/2.0' --proxy-anyauth --proxy-user "$user:$password" https://curl.origin.test/hello &&
		curl_says "$want" --proxy-anyauth --proxy-user "$user:$password" -T $lab/large http://curl.origin.test/sum &&
		curl_says "$want" --proxy-anyauth --proxy-user "$user:$password" -T $lab/large https://curl.origin.test/sum
}

# curl_is_refused: 22 is curl's word for a status, 56 for a tunnel.
curl_is_refused() {
	local try who
	for try in '' "$user:wrong" "nobody:$password" "$user:"; do
		who=(${try:+--proxy-user "$try"})
		with_curl -f "${who[@]}" http://curl.origin.test/hello
		[[ $? -eq 22 ]] || return 1
		with_curl "${who[@]}" https://curl.origin.test/hello
		[[ $? -eq 56 ]] || return 1
	done
}

# git_clones is not as thorough as git_both: the password is the same in a push.
git_clones() {
	local here=$lab/git/login
	rm -rf "$here"
	with_git clone -q "$1/git/project.git" "$here" && cmp $lab/project/files/aa "$here/files/aa"
}

apt_logs_in() {
	apt_at "login-$1" "$1://apt-login.origin.test" &&
		says '' with_apt "login-$1" update &&
		says 'Setting up lab1' with_apt "login-$1" -y install lab1
}

# secrets looks for passwords where none should be, as they are and as they were sent.
secrets() {
	local word
	for word in "$password" secret "${login#*:}" "$(printf %s "$user:$password" | base64)" "$(printf %s "$plain" | base64)"; do
		grep -F -- "$word" $lab/access.log $lab/viaduct.err
	done
}

no_secrets() {
	secrets >$lab/found
	cat $lab/found
	[[ ! -s $lab/found ]]
}

# refused_well looks at how a proxy ended that may have warned of wrong passwords.
refused_well() {
	sed -i '/msg="authentication failed"/d' $lab/viaduct.err
	ended_well
}

# ends stops the proxy and looks back.
ends() {
	report "$1: no socket is left" within 30 has_sockets "$2"
	stop
	report "$1: viaduct ends well" refused_well
}

# logins are the checks of a proxy with users.
logins() {
	local base meant='40[37]'
	printf '%s\n' "$password" | $lab/viaduct passwd $lab/users "$user" >$lab/output 2>&1 &&
		printf '%s\n' "${plain#*:}" | $lab/viaduct passwd $lab/users "${plain%:*}" >$lab/output 2>&1 || die "$(cat $lab/output)"
	from_file <<-END || exit 1
		listen: 10.0.0.1:3128
		users: $lab/users
		rules:
		  - {name: no-games, deny: {user: [$user], host: [games.origin.test]}}
	END
	base=$(sockets)
	try 'login: curl' 'GET http://curl.origin.test/hello 200, CONNECT curl.origin.test:443 200' tells "\"user\":\"$as_logged\"" curl_logs_in
	try 'login: curl, when it is asked' 'GET http://curl.origin.test/hello 407, CONNECT curl.origin.test:443 407, PUT http://curl.origin.test/sum 200, CONNECT curl.origin.test:443 200' curl_is_asked
	try 'login: curl, wrong or none' 'GET http://curl.origin.test/hello 407, CONNECT curl.origin.test:443 407' curl_is_refused
	try 'login: wget' 'GET http://wget.origin.test/hello 200, PUT http://wget.origin.test/sum 200' as $login wget_files http://wget.origin.test
	try 'login: wget by https' 'CONNECT wget.origin.test:443 200' as $login wget_files https://wget.origin.test
	try 'login: git by http' 'POST http://git.origin.test/git/project.git/git-upload-pack 200' as $login git_clones http://git.origin.test
	try 'login: git by https' 'CONNECT git.origin.test:443 200' as $login git_clones https://git.origin.test
	try 'login: apt by http' 'GET http://apt-login.origin.test/apt/lab1.deb 200' as $login apt_logs_in http
	try 'login: apt by https' 'CONNECT apt-login.origin.test:443 200' as $login apt_logs_in https
	try 'login: npm' 'CONNECT npm-login.origin.test:443 200' as $login npm_installs https://npm-login.origin.test
	try 'login: node core' "$(program_lines core.origin.test)" as $login program core.origin.test 2 with_node core
	try 'login: node https-proxy-agent' 'CONNECT https-proxy-agent.origin.test:443 200' as $login program https-proxy-agent.origin.test 2 with_node https-proxy-agent
	try 'login: node undici 6' 'CONNECT undici.origin.test:443 200' as $login program undici.origin.test 2 with_node undici
	try 'login: python urllib' "$(program_lines urllib.origin.test)" as $login program urllib.origin.test 2 with_python urllib
	try 'login: python requests' "$(program_lines requests.origin.test)" as $plain program requests.origin.test 2 with_python requests
	try 'login: python httpx' "$(program_lines httpx.origin.test)" as $login program httpx.origin.test 2 with_python httpx
	try 'login: java' "GET http://java.origin.test/hello 407, CONNECT java.origin.test:443 407, $(program_lines java.origin.test)" program java.origin.test 4 with_java java.origin.test "$user" "$password"
	try 'login: go' "$(program_lines go.origin.test)" as $login program go.origin.test 2 with_go go.origin.test
	try 'login: chromium by http' 'GET http://www.origin.test/page.html 200, CONNECT www.origin.test:80 200' chromium_shows http://www.origin.test 1.1 log_in "$password"
	try 'login: chromium by https' 'CONNECT www.origin.test:443 407, CONNECT www.origin.test:443 200' chromium_shows https://www.origin.test 2.0 log_in "$password"
	try 'login: chromium, wrong' 'GET http://www.origin.test/page.html 407' page_shows '407 Proxy Authentication Required' log_in wrong http://www.origin.test/page.html
	try 'login: a rule for one user' 'GET http://games.origin.test/hello 403' as $login curl_says "$sentence" http://games.origin.test/hello
	try 'login: and not for another' 'GET http://games.origin.test/hello 200' as $plain curl_says hello http://games.origin.test/hello
	report 'login: the log tells no password' no_secrets
	ends login "$base"
}

# denials are the checks of a proxy with a rule. By http, what a client shows of
# an answer shows the sentence; of a tunnel that is refused, it is the status line
# at best.
denials() {
	local base meant=403 site=games.origin.test
	from_file <<-END || exit 1
		listen: 10.0.0.1:3128
		open: true
		rules:
		  - {name: no-games, deny: {host: [.$site]}}
	END
	base=$(sockets)
	try 'denied: curl' "GET http://$site/hello 403" says "$sentence" with_curl http://$site/hello
	try 'denied: curl -v' "GET http://$site/hello 403" says '< Proxy-Status: viaduct; error=http_request_denied; details="rule no-games"' with_curl -v http://$site/hello
	try 'denied: curl -v by https' "CONNECT $site:443 403" fails "< HTTP/1.1 403 Forbidden $reason" with_curl -v https://$site/hello
	try 'denied: wget' "GET http://$site/hello 403" fails 'ERROR 403: Forbidden' with_wget -O - http://$site/hello
	try 'denied: wget by https' "CONNECT $site:443 403" fails "Proxy tunneling failed: Forbidden $reason" with_wget -O - https://$site/hello
	try 'denied: git' "GET http://$site/git/project.git/info/refs 403" fails "$sentence" with_git clone http://$site/git/project.git $lab/git/denied
	try 'denied: git by https' "CONNECT $site:443 403" fails ' 403' with_git clone https://$site/git/project.git $lab/git/denied
	apt_at denied http://$site && apt_at denied-tls https://$site
	try 'denied: apt' "GET http://$site/apt/./InRelease 403" fails '403  Forbidden' with_apt denied update --error-on=any
	try 'denied: apt by https' "CONNECT $site:443 403" fails "403 Forbidden $reason" with_apt denied-tls update --error-on=any -o Acquire::Retries=0
	try 'denied: node undici' "CONNECT $site:80 403" fails '403' with_node undici $site
	try 'denied: python urllib' "GET http://$site/hello 403" fails 'HTTP Error 403: Forbidden' with_python urllib $site
	try 'denied: python httpx' "GET http://$site/hello 403" fails '403 Forbidden' with_python httpx $site
	try 'denied: go' "GET http://$site/hello 403, CONNECT $site:443 403" fails "Forbidden $reason" with_go $site
	try 'denied: java' "GET http://$site/hello 403" fails "$sentence" with_java $site
	try 'denied: ssh by nc' "CONNECT $site:2222 403" fails "403 Forbidden $reason" client nc.openbsd -X connect -x 10.0.0.1:3128 $site 2222
	try 'denied: chromium' "GET http://$site/page.html 403" page_shows "<title>403 Forbidden</title>"$'\n>no-games<\n'">$contact<" browse http://$site/page.html
	try 'denied: chromium by https' "CONNECT $site:443 403" page_shows ERR_TUNNEL_CONNECTION_FAILED browse_loudly https://$site/page.html
	ends denied "$base"
}
