package sni_test

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"viaduct/sni"
)

// read expects a hello, whatever comes behind it, and that every beginning of it
// is too little to tell.
func read(t *testing.T, b []byte, want sni.Hello) {
	t.Helper()
	for n := range b {
		if h, r := sni.Read(b[:n:n]); r != sni.More || h != (sni.Hello{}) {
			t.Fatalf("%d bytes of %d are %v, result %d", n, len(b), h, r)
		}
	}
	for _, behind := range []string{"", "\x16", "\x17\x03\x03\x00\x05early", "\x00 of any kind"} {
		if h, r := sni.Read(append(bytes.Clone(b), behind...)); r != sni.TLS || h != want {
			t.Fatalf("with %q behind it: %+v, result %d, want %+v", behind, h, r, want)
		}
	}
}

func TestHelloOfClient(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config *tls.Config
		want   sni.Hello
	}{
		{"usual", &tls.Config{ServerName: "www.example.com"}, sni.Hello{Name: "www.example.com"}},
		{"upper case", &tls.Config{ServerName: "WWW.Example.COM"}, sni.Hello{Name: "www.example.com"}},
		{"final dot, which the client leaves out", &tls.Config{ServerName: "example.com."}, sni.Hello{Name: "example.com"}},
		{"one label", &tls.Config{ServerName: "localhost"}, sni.Hello{Name: "localhost"}},
		{"longest name", &tls.Config{ServerName: strings.Repeat("a.", 126) + "a"}, sni.Hello{Name: strings.Repeat("a.", 126) + "a"}},
		{"no name", &tls.Config{}, sni.Hello{}},
		{"address, which the client leaves out", &tls.Config{ServerName: "192.0.2.1"}, sni.Hello{}},
		{"TLS 1.2", &tls.Config{ServerName: "example.com", MaxVersion: tls.VersionTLS12}, sni.Hello{Name: "example.com"}},
		{"TLS 1.0", &tls.Config{ServerName: "example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, sni.Hello{Name: "example.com"}},
		{"TLS 1.3", &tls.Config{ServerName: "example.com", MinVersion: tls.VersionTLS13}, sni.Hello{Name: "example.com"}},
		{"protocols", &tls.Config{ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}}, sni.Hello{Name: "example.com"}},
		{"in two records", &tls.Config{ServerName: "example.com", NextProtos: protocols(20 << 10)}, sni.Hello{Name: "example.com"}},
		{"as large as may be", &tls.Config{ServerName: "example.com", NextProtos: protocols(62 << 10)}, sni.Hello{Name: "example.com"}},
		{"encrypted hello", &tls.Config{ServerName: "secret.example", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echList(t, "public.example")}, sni.Hello{Name: "public.example", ECH: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			read(t, said(t, tt.config), tt.want)
		})
	}
}

// A hello may be parted anywhere, even between the bytes of its name.
func TestHelloInManyRecords(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 5, 7, 50, 100, 1000} {
		b := said(t, &tls.Config{ServerName: "www.example.com"})
		read(t, records(carried(b), size), sni.Hello{Name: "www.example.com"})
	}
	message := carried(said(t, &tls.Config{ServerName: "www.example.com"}))
	for cut := 1; cut < len(message); cut++ {
		b := append(record(22, 1, message[:cut]), record(22, 3, message[cut:])...)
		if h, r := sni.Read(b); r != sni.TLS || h.Name != "www.example.com" {
			t.Fatalf("parted at %d: %+v, result %d", cut, h, r)
		}
	}
}

func TestHelloByHand(t *testing.T) {
	ech := extension(0xfe0d, []byte("whatever"))
	other := extension(0x4a4a, make([]byte, 300))
	for _, tt := range []struct {
		name string
		p    parts
		want sni.Hello
	}{
		{"no block of extensions", parts{}, sni.Hello{}},
		{"no extensions", parts{extensions: [][]byte{}}, sni.Hello{}},
		{"session", parts{session: short(make([]byte, 32))}, sni.Hello{}},
		{"many suites", parts{suites: long(make([]byte, 0xfffe-1000))}, sni.Hello{}},
		{"many methods", parts{methods: short(make([]byte, 255))}, sni.Hello{}},
		{"name first", parts{extensions: [][]byte{named("\x00a.example"), other, ech}}, sni.Hello{Name: "a.example", ECH: true}},
		{"name last", parts{extensions: [][]byte{ech, other, named("\x00a.example")}}, sni.Hello{Name: "a.example", ECH: true}},
		{"empty encrypted hello", parts{extensions: [][]byte{extension(0xfe0d, nil)}}, sni.Hello{ECH: true}},
		{"others twice", parts{extensions: [][]byte{other, other}}, sni.Hello{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			read(t, records(tt.p.message(), 1<<14), tt.want)
			read(t, records(tt.p.message(), 999), tt.want)
		})
	}
}

func TestNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, label[:61]}, ".")
	for _, tt := range []struct{ name, want string }{ // want "" is Malformed
		{"example.com", "example.com"},
		{"EXAMPLE.Com", "example.com"},
		{"example.com.", "example.com"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"_dmarc.a_b.example", "_dmarc.a_b.example"},
		{"-a-.example", "-a-.example"},
		{"x", "x"},
		{longest, longest},
		{longest + ".", longest},
		{"192.0.2.1", "192.0.2.1"},
		{"2001:DB8::1", "2001:db8::1"},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
		{"", ""},
		{".", ""},
		{"..", ""},
		{".example.com", ""},
		{"example..com", ""},
		{"example.com..", ""},
		{label + "a.example", ""},
		{longest + "a", ""},
		{longest + "a.", ""},
		{longest + ".a", ""},
		{strings.Repeat("a.", 8000), ""},
		{"example.com\x00", ""},
		{"good.example\x00.evil.example", ""},
		{"\x00", ""},
		{"bücher.example", ""},
		{"a b.example", ""},
		{"*.example.com", ""},
		{"example.com:443", ""},
		{"192.0.2.1:443", ""},
		{"[2001:db8::1]", ""},
		{"fe80::1%eth0", ""},
		{"::g", ""},
		{"user@example.com", ""},
		{"example.com/", ""},
		{"\u212aelvin.example", ""}, // a sign that lower case makes a k of
	} {
		h, r := sni.Read(calls(tt.name))
		if tt.want == "" && (r != sni.Malformed || h != (sni.Hello{})) {
			t.Errorf("%q is %+v, result %d", tt.name, h, r)
		}
		if tt.want != "" && (r != sni.TLS || h.Name != tt.want) {
			t.Errorf("%q is %+v, result %d, want %q", tt.name, h, r, tt.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	name := named("\x00a.example")
	ech := extension(0xfe0d, []byte{1})
	whole := calls("a.example")
	message := carried(whole)
	ext := func(all ...[]byte) []byte { return records(parts{extensions: all}.message(), 1<<14) }
	body := message[4:]
	lengthen := func(by int) []byte { // says another length than it has
		m := bytes.Clone(message)
		m[3] = byte(int(m[3]) + by)
		return records(append(m, make([]byte, 64)...), 1<<14)
	}
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"alert first", append(record(21, 3, []byte{1, 0}), whole...)},
		{"alert first, byte by byte", []byte{21}},
		{"change of cipher first", append(record(20, 3, []byte{1}), whole...)},
		{"data first", record(23, 3, []byte("hello"))},
		{"heartbeat first", record(24, 3, []byte("hello"))},
		{"alert of no version", append([]byte{21, 0, 0, 0, 2, 1, 0}, whole...)},
		{"alert in between", slices.Concat(record(22, 1, message[:9]), record(21, 3, []byte{1, 0}), record(22, 1, message[9:]))},
		{"data in between", slices.Concat(record(22, 1, message[:9]), record(23, 3, message[9:]))},
		{"no major version", append([]byte{22, 0, 1}, whole[3:]...)},
		{"major version 2", append([]byte{22, 2, 1}, whole[3:]...)},
		{"major version 4", []byte{22, 4}},
		{"minor version 5", []byte{22, 3, 5}},
		{"empty record first", append(record(22, 1, nil), whole...)},
		{"empty record in between", slices.Concat(record(22, 1, message[:9]), record(22, 1, nil), record(22, 1, message[9:]))},
		{"record too large", []byte{22, 3, 1, 0x40, 0x01}},
		{"another message", records([]byte{2, 0, 0, 1, 0}, 9)},
		{"request for a hello first", records(append([]byte{0, 0, 0, 0}, message...), 1<<14)},
		{"empty message", records([]byte{1, 0, 0, 0, 0}, 9)},
		{"message too large", records([]byte{1, 1, 0, 0}, 9)},
		{"message of 16 MiB", records([]byte{1, 0xff, 0xff, 0xff}, 9)},
		{"message too long", lengthen(1)},
		{"message too short", lengthen(-1)},
		{"message without its middle", records(withHeader(body[:30]), 1<<14)},
		{"session too large", records(parts{session: short(make([]byte, 33))}.message(), 1<<14)},
		{"session beyond the end", records(withHeader(append(bytes.Clone(body[:34]), 32)), 1<<14)},
		{"no suites", records(parts{suites: long(nil)}.message(), 1<<14)},
		{"half a suite", records(parts{suites: long(make([]byte, 3))}.message(), 1<<14)},
		{"no methods", records(parts{methods: short(nil)}.message(), 1<<14)},
		{"one byte of extensions", records(parts{behind: []byte{0}}.message(), 1<<14)},
		{"bytes behind the extensions", records(parts{extensions: [][]byte{name}, behind: []byte{0}}.message(), 1<<14)},
		{"extension behind the extensions", records(parts{extensions: [][]byte{ech}, behind: name}.message(), 1<<14)},
		{"extensions beyond the end", records(parts{behind: []byte{0, 9, 0, 21, 0, 0}}.message(), 1<<14)},
		{"extension without its length", ext(name, []byte{0, 1, 0})},
		{"extension beyond the end", ext(name, []byte{0, 1, 0, 9, 1})},
		{"name beyond the end", ext([]byte{0, 0, 0, 9, 0, 7, 0, 0, 4, 'a'})},
		{"two extensions of names", ext(name, named("\x00b.example"))},
		{"the same name twice", ext(name, name)},
		{"two encrypted hellos", ext(ech, name, ech)},
		{"two names", ext(named("\x00a.example", "\x00b.example"))},
		{"a name of another type", ext(named("\x01a.example"))},
		{"a name of another type first", ext(named("\x01a.example", "\x00b.example"))},
		{"a name of another type last", ext(named("\x00a.example", "\x01b.example"))},
		{"no list", ext(extension(0, nil))},
		{"empty list", ext(extension(0, long(nil)))},
		{"list with a type only", ext(extension(0, long([]byte{0})))},
		{"list too long", ext(extension(0, append([]byte{0, 13}, long(nil)...)))},
		{"list too short", ext(extension(0, []byte{0, 4, 0, 0, 2, 'a', 'b'}))},
		{"extension in the list", ext(extension(0, long([]byte{0, 0, 1, 'a', 0, 21, 0, 0})))},
		{"extension behind the list", ext(extension(0, append(long([]byte{0, 0, 1, 'a'}), 0, 21, 0, 0)))},
		{"bytes behind the list", ext(extension(0, append(long([]byte{0, 0, 1, 'a'}), 0)))},
		{"name longer than the list", ext(extension(0, long([]byte{0, 0, 2, 'a'})))},
		{"name shorter than the list", ext(extension(0, long([]byte{0, 0, 1, 'a', 'b'})))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h, r := sni.Read(tt.b); r != sni.Malformed || h != (sni.Hello{}) {
				t.Errorf("%+v, result %d", h, r)
			}
			steady(t, tt.b)
		})
	}
}

// steady expects that what has been told stays true with every further byte.
func steady(t testing.TB, b []byte) {
	t.Helper()
	var told sni.Hello
	var result sni.Result
	for n := range len(b) + 1 {
		h, r := sni.Read(b[:n:n])
		if result != sni.More && (h != told || r != result) {
			t.Fatalf("with %d bytes of %d %+v, result %d; before %+v, result %d", n, len(b), h, r, told, result)
		}
		told, result = h, r
	}
}

// A message within bounds can be carried in so many records that it is not.
func TestHelloIsBounded(t *testing.T) {
	message := parts{extensions: [][]byte{extension(21, make([]byte, 20<<10)), named("\x00a.example")}}.message()
	if h, r := sni.Read(records(message, 100)); r != sni.TLS || h.Name != "a.example" {
		t.Errorf("%+v, result %d", h, r)
	}
	b := records(message, 1)
	for _, tt := range []struct {
		n    int
		want sni.Result
	}{{sni.Most - 1, sni.More}, {sni.Most, sni.Malformed}, {sni.Most + 1, sni.Malformed}, {len(b), sni.Malformed}} {
		if _, r := sni.Read(b[:tt.n]); r != tt.want {
			t.Errorf("%d bytes of %d: result %d, want %d", tt.n, len(b), r, tt.want)
		}
	}
	for _, more := range []int{0, 1} {
		fixed := len(parts{extensions: [][]byte{extension(21, nil)}}.message())
		full := parts{extensions: [][]byte{extension(21, make([]byte, sni.Most-5*4-fixed+more))}}.message()
		_, r := sni.Read(records(full, 1<<14))
		if want := []sni.Result{sni.TLS, sni.Malformed}[more]; r != want {
			t.Errorf("%d bytes beyond the bound: result %d, want %d", more, r, want)
		}
	}
}

func TestOldHello(t *testing.T) {
	for _, tt := range []struct {
		b    string
		want sni.Result
	}{
		{"\x80", sni.More},
		{"\x80\x2e", sni.More},
		{"\x80\x2e\x01", sni.More},
		{"\x80\x2e\x01\x03", sni.More},
		{"\x80\x2e\x01\x03\x01", sni.TLS},
		{"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10and so on", sni.TLS},
		{"\x80\x2e\x01\x00\x02", sni.TLS},
		{"\xff\xff\x01\x03\x04", sni.TLS},
		{"\x80\x2e\x02", sni.NotTLS},
		{"\x80\x2e\x01\x02", sni.NotTLS},
		{"\x80\x2e\x01\x00\x03", sni.NotTLS},
		{"\x80\x01\x00\x01", sni.NotTLS},
	} {
		if h, r := sni.Read([]byte(tt.b)); r != tt.want || h != (sni.Hello{}) {
			t.Errorf("%q is %+v, result %d, want %d", tt.b, h, r, tt.want)
		}
		steady(t, []byte(tt.b))
	}
}

func TestOtherProtocols(t *testing.T) {
	for _, b := range []string{
		"SSH-2.0-OpenSSH_9.9\r\n",
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"EHLO client.example\r\n",
		"A001 STARTTLS\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\x16\x03\x01",
		"\r\n", " \x16\x03\x01",
		"\x00\x00\x00\x08\x04\xd2\x16\x2f", // PostgreSQL asks for TLS
		"\x03\x00\x00\x13\x0e\xe0",         // remote desktop
		"\x05\x01\x00",                     // SOCKS
		"\x10\x10\x00\x04MQTT",
		"\x13BitTorrent protocol",
		"\x19", "\x7f",
		"\xef\xef\xef\xef", "\xff\x00\x00\x00\x00",
	} {
		if h, r := sni.Read([]byte(b)); r != sni.NotTLS || h != (sni.Hello{}) {
			t.Errorf("%q is %+v, result %d", b, h, r)
		}
		steady(t, []byte(b))
	}
}

func TestReadAllocatesTheNameOnly(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := said(t, &tls.Config{ServerName: "www.example.com", NextProtos: protocols(30 << 10)})
	for _, tt := range []struct {
		name string
		b    []byte
		most float64
	}{
		{"hello", b, 1},
		{"hello in many records", records(carried(b), 100), 1},
		{"most of a hello", b[:len(b)-1], 0},
		{"hello without a name", records(parts{}.message(), 1<<14), 0},
		{"another protocol", []byte("SSH-2.0-x\r\n"), 0},
		{"malformed", calls("a..b"), 0},
	} {
		if n := testing.AllocsPerRun(100, func() { sni.Read(tt.b) }); n > tt.most {
			t.Errorf("%s: %v allocations, want %v at most", tt.name, n, tt.most)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	hello := said(b, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2", "http/1.1"}})
	b.ReportAllocs()
	for b.Loop() {
		sni.Read(hello)
	}
}

// The worst a client can do: as many records as there may be, and each byte by
// itself. This is what the last byte costs.
func BenchmarkReadTinyRecords(b *testing.B) {
	message := parts{extensions: [][]byte{extension(21, make([]byte, 20<<10))}}.message()
	hello := records(message, 1)[:sni.Most-1]
	b.ReportAllocs()
	for b.Loop() {
		sni.Read(hello)
	}
}
