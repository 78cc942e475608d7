// Package sni tells from the first bytes of a client whether it speaks TLS, and
// which name it asks for: the server_name extension of its ClientHello (RFC
// 8446 section 4.1.2, RFC 6066 section 3).
//
// It reads what a lenient server might take for a ClientHello more strictly
// than such a server does: what two readers may understand in two ways is
// Malformed, never another name, and never NotTLS. Only the first ClientHello
// is to be seen. One that follows a HelloRetryRequest may not change the name
// (RFC 8446 section 4.1.2), and one that renegotiates is encrypted.
package sni

// Most is how many bytes a ClientHello may have, the headers of its records
// among them. Read asks for no more once it has been given so many.
const Most = 64 << 10

// Hello is what a ClientHello says of where it goes.
type Hello struct {
	// Name is what the client calls the server: in lower case, without a final
	// dot, and nothing but letters, digits, hyphens, underscores and dots; or an
	// address without brackets, as it was written, which RFC 6066 forbids and
	// clients send all the same. Empty if the client gave no name.
	Name string
	// ECH says that the encrypted_client_hello extension is there. Name may then
	// be the public name of whoever serves the real one (RFC 9849 section 5).
	// Many clients send the extension with random bytes (GREASE, section 6.2),
	// and are made to look alike: from outside nobody can tell, so ECH is no
	// proof that there is another name.
	ECH bool
}

// Result says what the first bytes of a client are.
type Result uint8

// The results. All but More are final: more bytes would not change them.
const (
	More      Result = iota // too few bytes to tell
	NotTLS                  // another protocol
	TLS                     // a whole ClientHello, or that of SSL 2.0, which has no names
	Malformed               // nothing but a broken or hostile client of TLS begins like this
)

// Read reads all the bytes that a client has sent so far. The Hello is set if
// the result is TLS. It keeps nothing of b.
func Read(b []byte) (Hello, Result) {
	b = b[:min(len(b), Most)]
	switch {
	case len(b) == 0:
		return Hello{}, More
	case b[0]&0x80 != 0:
		return Hello{}, readOld(b)
	case b[0] < changeCipherSpec || b[0] > heartbeat:
		return Hello{}, NotTLS
	}
	m := message{rest: b, result: TLS}
	m.read()
	switch {
	case m.result == TLS:
		return Hello{Name: string(m.name[:m.named]), ECH: m.ech}, TLS
	case m.result == More && len(b) == Most:
		return Hello{}, Malformed
	}
	return Hello{}, m.result
}

// readOld looks for the ClientHello of SSL 2.0, in which clients of old offered
// TLS too (RFC 5246 appendix E.2): two bytes of length, the highest bit set,
// the type and the version.
func readOld(b []byte) Result {
	const clientHello = 1
	switch {
	case len(b) > 2 && b[2] != clientHello,
		len(b) > 3 && b[3] != 0 && b[3] != 3,
		len(b) > 4 && b[3] == 0 && b[4] != 2:
		return NotTLS
	case len(b) < 5:
		return More
	}
	return TLS
}
