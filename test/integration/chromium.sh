# shellcheck shell=bash disable=SC2154 # the names of integration.sh
# Chromium in integration.sh.

# chromium_setup lets the browser trust the authorities, and makes a page that
# fetches and speaks WebSocket.
chromium_setup() {
	mkdir -p $lab/home/.pki/nssdb &&
		certutil -d sql:$lab/home/.pki/nssdb -N --empty-password &&
		chromium_trusts lab $ca && chromium_trusts office $office || return 1
	cat >$lab/www/page.html <<-'END'
		<!doctype html><title>lab</title><link rel="icon" href="data:,"><body><script>
		const show = (text) => document.body.append(`[${text}]`);
		// A frame that is being written holds up the page's load event, and so the dump.
		const hold = document.body.appendChild(document.createElement("iframe")).contentDocument.open();
		const echoed = () => new Promise((resolve, reject) => {
		  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/echo`);
		  socket.onopen = () => socket.send("ping");
		  socket.onmessage = (e) => { resolve(e.data); socket.close(); };
		  socket.onerror = () => reject("WebSocket failed");
		});
		(async () => {
		  const answers = await Promise.all([...Array(20)].map((_, i) => fetch(`/hello?${i}`).then((a) => a.text())));
		  show(`${answers.length} times ${[...new Set(answers)].join().trim()}`);
		  show(`${(await (await fetch("/large")).arrayBuffer()).byteLength} bytes`);
		  show(`echoed ${await echoed()}`);
		})().catch(show).finally(() => hold.close());
		</script>
	END
}

chromium_trusts() { certutil -d sql:$lab/home/.pki/nssdb -A -t C,, -n "$1" -i "$2"; }

# browser is how it is started, in a folder of its own each time.
browser=(--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
	--disable-background-networking --disable-component-update --disable-sync --disable-default-apps)

# browse prints a page.
browse() {
	client chromium "${browser[@]}" --proxy-server=$proxy_at --user-data-dir="$(mktemp -d $lab/chromium.XXXXXX)" --dump-dom "$1"
}

# page_shows runs what prints a page, in which all texts have to be.
#
#   page_shows 'TEXT
#   TEXT…' COMMAND…
page_shows() {
	local texts=$1 page text
	shift
	page=$("$@" 2>$lab/chromium.err)
	while IFS= read -r text; do
		[[ $page == *"$text"* ]] || {
			echo "wanted: $text"
			head -c 4000 <<<"$page"
			tail -n 5 $lab/chromium.err
			return 1
		}
	done <<<"$texts"
}

# chromium_shows looks for what the page does: chromium_shows SITE VERSION COMMAND…
chromium_shows() {
	local site=$1 version=$2
	shift 2
	page_shows "[20 times hello GET HTTP/$version ${site#*://}"$'\n[8388608 bytes]\n[echoed ping]' "$@" "$site/page.html"
}

# browse_loudly prints what the browser complains of, too: it dumps no error page.
browse_loudly() { browse "$1" 2>&1; }

# log_in prints a page to somebody who is asked for a name and a password: log_in
# PASSWORD URL.
log_in() {
	client node "$clients/chromium.mjs" "$user" "$1" "$2" "${browser[@]}" --proxy-server=$proxy_at --user-data-dir="$(mktemp -d $lab/chromium.XXXXXX)"
}
