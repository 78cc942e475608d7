package sni

// Content types of records (RFC 8446 section 5.1, RFC 6520). A lenient server
// overlooks an alert before the ClientHello, and whatever version a record
// claims to have: so what begins with one of these is taken for TLS.
const (
	changeCipherSpec = 20
	handshake        = 22
	heartbeat        = 24
)

const (
	header      = 5       // bytes of a record before its content
	mostContent = 1 << 14 // bytes of content
	clientHello = 1       // type of the message
	mostSession = 32      // bytes of a session's id

	serverName           = 0 // types of extensions
	encryptedClientHello = 0xfe0d
)

// message is a ClientHello, read out of the records that carry it. They may
// part it anywhere, and the last one may not have come whole.
type message struct {
	rest    []byte // records behind the one in hand
	content []byte // what came of the one in hand, and isn't read yet
	left    int    // bytes that are still to be read: of the message's header, then of the message
	result  Result // TLS until something speaks against it; then all that is read is 0

	name    [mostName + 1]byte // with a final dot
	named   int                // bytes of name
	hasName bool
	ech     bool
}

func (m *message) stop(r Result) {
	if m.result == TLS {
		m.result = r
	}
}

// read reads the message by the structure of RFC 8446 section 4.1.2. What else
// is sent behind it is no matter.
func (m *message) read() {
	m.left = 4
	kind, size := m.number(1), m.number(3)
	if m.require(kind == clientHello && size <= Most-header-4); m.result != TLS {
		return
	}
	m.left = size
	m.skip(2 + 32) // a version, which says nothing, and the random
	n := m.number(1)
	m.require(n <= mostSession)
	m.skip(n)
	n = m.number(2)
	m.require(n > 0 && n%2 == 0)
	m.skip(n) // cipher suites
	n = m.number(1)
	m.require(n > 0)
	m.skip(n) // compression methods
	if m.left == 0 {
		return // as it was before there were extensions
	}
	n = m.number(2)
	m.require(n == m.left)
	for m.result == TLS && m.left > 0 {
		m.extension()
	}
}

func (m *message) extension() {
	kind, n := m.number(2), m.number(2)
	switch kind {
	case serverName:
		m.require(!m.hasName)
		m.hasName = true
		m.readName(n)
	case encryptedClientHello:
		m.require(!m.ech)
		m.ech = true
		m.skip(n)
	default:
		m.skip(n)
	}
}

// readName reads an extension of n bytes: a list with one name of the one type
// there is. Servers differ in what they make of another type, and of several.
func (m *message) readName(n int) {
	list, kind, size := m.number(2), m.number(1), m.number(2)
	m.require(list == n-2 && kind == 0 && size == n-5 && size <= len(m.name))
	if m.result != TLS {
		return
	}
	m.take(m.name[:size])
	m.named = normalize(m.name[:size])
	m.require(m.named > 0)
}

func (m *message) require(holds bool) {
	if !holds {
		m.stop(Malformed)
	}
}

// number reads an unsigned integer of n bytes.
func (m *message) number(n int) int {
	var b [3]byte
	m.take(b[:n])
	if m.result != TLS {
		return 0
	}
	v := 0
	for _, c := range b[:n] {
		v = v<<8 | int(c)
	}
	return v
}

// take reads into b, skip reads n bytes and forgets them.
func (m *message) take(b []byte) {
	for m.more(len(b)) {
		n := copy(b, m.content)
		b = b[n:]
		m.pass(n)
	}
}

func (m *message) skip(n int) {
	for m.more(n) {
		k := min(n, len(m.content))
		n -= k
		m.pass(k)
	}
}

func (m *message) pass(n int) {
	m.content = m.content[n:]
	m.left -= n
}

// more is true if n bytes are still to be read, and there is one at least.
func (m *message) more(n int) bool {
	if m.require(n <= m.left); n == 0 || m.result != TLS {
		return false
	}
	if len(m.content) == 0 {
		m.record()
	}
	return m.result == TLS
}

// record goes on to the next record. What isn't handshake must not stand between
// the parts of a message, nor may a part be empty (RFC 8446 section 5.1).
func (m *message) record() {
	b := m.rest
	m.require((len(b) < 1 || b[0] == handshake) && (len(b) < 2 || b[1] == 3) && (len(b) < 3 || b[2] <= 4))
	if len(b) < header {
		m.stop(More)
		return
	}
	size := int(b[3])<<8 | int(b[4])
	m.require(size > 0 && size <= mostContent)
	b = b[header:]
	n := min(size, len(b))
	m.content, m.rest = b[:n], b[n:]
}
