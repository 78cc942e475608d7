package hop

// A treatment says which messages leave a field behind: one bit a profile for
// requests, one for answers.
type treatment uint8

const (
	answers  treatment = 1 << 7
	requests treatment = 1<<Strict | 1<<Via | 1<<Transparent
	hopByHop treatment = requests | answers
	identity treatment = 1<<Strict | 1<<Via
	trace    treatment = 1 << Strict
)

// row is a field name in lower case with "-" for "_"; a "*" at its end stands
// for any rest, also for none.
type row struct {
	name string
	treatment
}

// rows are the fields that don't go on. An identity field is one that an
// intermediary writes about its client or about itself. What user agents say of
// themselves (User-Agent, From, Cookie) and what applications use to follow a
// request (Traceparent, X-Request-ID) is theirs to send. CDN-Loop stays too: it
// names no client, and a network without it can't stop a loop (RFC 8586
// section 2).
var rows = []row{
	// RFC 9110 section 7.6.1 and its predecessors.
	{"connection", hopByHop},
	{"keep-alive", hopByHop},
	{"te", hopByHop},
	{"upgrade", hopByHop},
	{"http2-settings", hopByHop},
	// Credentials and challenges between a client and its proxy, section 11.7;
	// an origin that sends them is after the client's password.
	{"proxy-*", hopByHop},
	{"xproxy-connection", requests},
	{"xroxy-connection", requests},
	// CGI programs take it for the setting HTTP_PROXY (CVE-2016-5385).
	{"proxy", requests},

	{"via", trace},

	// RFC 7239, and what people wrote before it and instead of it.
	{"forwarded", identity},
	{"forwarded-*", identity},
	{"x-forwarded", identity},
	{"x-forwarded-*", identity},
	{"x-forward-for", identity},
	{"x-original-forwarded-for", identity},
	{"z-forwarded-for", identity},
	{"http-x-forwarded-for", identity},
	{"http-client-ip", identity},
	{"client-ip", identity},
	{"cluster-client-ip", identity},
	{"remote-addr", identity},
	{"pc-remote-addr", identity},
	{"coming-from", identity},
	{"x-coming-from", identity},
	{"true-client-ip", identity},
	{"x-true-client-ip", identity},
	{"x-client-ip", identity},
	{"x-client-src-ip", identity},
	{"x-cluster-client-ip", identity},
	{"x-original-remote-addr", identity},
	{"x-originating-ip", identity},
	{"x-proxyuser-ip", identity},
	{"x-real-ip", identity},
	{"x-real-port", identity},
	{"x-remote-addr", identity},
	{"x-remote-ip", identity},
	{"x-source-ip", identity},
	{"x-src-ip", identity},

	// A certificate that a TLS end saw (RFC 9440).
	{"client-cert", identity},
	{"client-cert-chain", identity},
	// The user that a filtering proxy authenticated.
	{"x-authenticated-user", identity},
	{"x-authenticated-groups", identity},

	// Networks in front of our client. Only the fields that speak of it: the
	// rest of CF-* has credentials of Cloudflare Access in it.
	{"ali-cdn-real-ip", identity},
	{"cdn-src-ip", identity},
	{"cf-connecting-ip", identity},
	{"cf-connecting-ipv6", identity},
	{"cf-ipcountry", identity},
	{"cf-pseudo-ipv4", identity},
	{"cloudfront-viewer-*", identity},
	{"do-connecting-ip", identity},
	{"fastly-client-ip", identity},
	{"fly-client-ip", identity},
	{"incap-client-ip", identity},
	{"x-akamai-edgescape", identity},
	{"x-appengine-remote-addr", identity},
	{"x-appengine-user-ip", identity},
	{"x-azure-clientip", identity},
	{"x-azure-socketip", identity},
	{"x-nf-client-connection-ip", identity},
	{"x-sucuri-clientip", identity},
	{"x-vercel-forwarded-for", identity},
	{"x-vercel-proxied-for", identity},

	// Proxies, sidecars and application servers. A mesh names its workloads in
	// X-Envoy-Peer-Metadata and its inner clusters in other X-Envoy fields.
	{"mt-proxy-id", identity},
	{"useragent-via", identity},
	{"wl-proxy-*", identity},
	{"x-bluecoat-via", identity},
	{"x-envoy-*", identity},
	{"x-imforwards", identity},
	{"x-proxy-id", identity},
	{"x-tinyproxy", identity},
	{"x-varnish", identity},
	{"x-via", identity},

	// Mobile gateways, which add the subscriber's number. No X-Up-*: Unpoly,
	// a library for browsers, has fields of that family.
	{"msisdn", identity},
	{"x-acr", identity},
	{"x-msisdn", identity},
	{"x-network-info", identity},
	{"x-nokia-*", identity},
	{"x-uidh", identity},
	{"x-up-calling-line-id", identity},
	{"x-up-subno", identity},
	{"x-vf-acr", identity},
	{"x-wap-network-client-*", identity},
}

// stem is how many bytes of a name with a "*" pick its chain.
const stem = 5

// index finds the row of a name: the heads of chains through rows, by a hash of
// a whole name and by the stem of a family. Numbers are one more than the
// row's; 0 ends a chain.
type index struct {
	whole  [256]uint8
	family [64]uint8
	next   [256]uint8
}

var fields = indexRows(rows)

func indexRows(rows []row) *index {
	x := new(index)
	for i, r := range rows {
		head := &x.whole[slot(r.name)]
		if r.name[len(r.name)-1] == '*' {
			head = &x.family[stemSlot(r.name)]
		}
		x.next[i+1], *head = *head, uint8(i+1)
	}
	return x
}

// find is the treatment of a field. A whole name wins over a family.
func (x *index) find(name []byte) treatment {
	if len(name) == 0 {
		return 0
	}
	for i := x.whole[slot(name)]; i != 0; i = x.next[i] {
		if r := &rows[i-1]; len(r.name) == len(name) && sameField(name, r.name) {
			return r.treatment
		}
	}
	if len(name) <= stem {
		return 0
	}
	for i := x.family[stemSlot(name)]; i != 0; i = x.next[i] {
		r := &rows[i-1]
		if n := len(r.name) - 1; len(name) >= n && sameField(name[:n], r.name[:n]) {
			return r.treatment
		}
	}
	return 0
}

func slot[T ~string | ~[]byte](name T) uint8 {
	n := len(name)
	return uint8(n)*31 + fold[name[0]] + fold[name[n/2]]*7 + fold[name[n-1]]*13
}

func stemSlot[T ~string | ~[]byte](name T) uint8 {
	return (fold[name[0]]*3 + fold[name[2]]*5 + fold[name[3]]*7 + fold[name[4]]) % 64
}

// sameField compares b with a row's name of the same length.
func sameField(b []byte, name string) bool {
	for i, c := range b {
		if fold[c] != name[i] {
			return false
		}
	}
	return true
}

// fold makes one byte of those that servers don't tell apart in a field name:
// letters of both cases, and "_" and "-", which become the same CGI variable,
// so that X_Forwarded_For speaks to an origin like X-Forwarded-For.
var fold = foldTable()

func foldTable() (t [256]uint8) {
	for c := range t {
		t[c] = lower(uint8(c))
	}
	t['_'] = '-'
	return t
}
