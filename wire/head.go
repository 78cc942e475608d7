package wire

import (
	"bytes"

	"viaduct/fault"
)

// Name is a field that the engine itself must understand.
type Name uint8

// The fields of message framing, connection handling and routing.
const (
	Other Name = iota
	ContentLength
	TransferEncoding
	Connection
	Host
	Expect
	Upgrade
	Trailer
	TE
	MaxForwards
	Via
	ProxyAuthorization
)

// Field is one line of a head or trailer section. Its slices point into the
// connection's buffer and live as long as the head.
type Field struct {
	Name  []byte
	Value []byte // without the white space around it
	ID    Name
	Own   bool // it did not come with the message: no Connection field speaks of it
}

// maxFields bounds the lines of a section, and maxOptions those options of the
// Connection fields that name other fields.
const (
	maxFields  = 256
	maxOptions = 16
)

// Head is the head of a request or an answer, parsed in place. Its slices point
// into the buffer of the connection it was read from; they are valid until the
// next head is read from there, and whoever keeps one longer copies it.
// The zero value is ready for use, and a Head may be used again.
type Head struct {
	Method []byte // request only
	Target []byte // request only
	Status int    // answer only
	Reason []byte // answer only
	Minor  uint8  // of HTTP/1.x
	Fields []Field

	Length  int64 // Content-Length, or -1
	Chunked bool  // Transfer-Encoding: chunked
	Close   bool  // this connection ends after this message
	Expect  bool  // Expect: 100-continue
	Upgrade bool  // Connection: upgrade, with an Upgrade field

	seen       uint16   // bits of the Names met
	upgrade    bool     // Connection has the option
	dropExpect bool     // Connection names Expect, which then goes no further
	options    [][]byte // fields that Connection names, RFC 9110 section 7.6.1

	pos  int // where the line to be parsed begins
	scan int // how far that line was searched for its end
	line int // lines parsed
	head int // length of the start line
}

// Has tells whether a field is there.
func (h *Head) Has(n Name) bool { return h.seen&(1<<n) != 0 }

// Get is the value of the first field of that name, or nil.
func (h *Head) Get(n Name) []byte {
	if !h.Has(n) {
		return nil
	}
	for i := range h.Fields {
		if h.Fields[i].ID == n {
			return h.Fields[i].Value
		}
	}
	return nil
}

// Nominated tells whether a Connection field names this one, which then ends at
// this hop (RFC 9110 section 7.6.1).
func (h *Head) Nominated(f *Field) bool {
	if f.Own {
		return false
	}
	for _, o := range h.options {
		if len(o) == len(f.Name) && bytes.EqualFold(o, f.Name) {
			return true
		}
	}
	return false
}

func (h *Head) reset() {
	*h = Head{Fields: h.Fields[:0], options: h.options[:0], Length: -1}
}

// startLine parses the first line of a head.
type startLine func(h *Head, line []byte) *fault.Error

// parse goes on with the head that begins at b[0], line by line, and tells
// whether it is whole; what it has done is not done again when more bytes
// come. b must stay where it is meanwhile.
func (h *Head) parse(b []byte, start startLine) (whole bool, err *fault.Error) {
	for {
		i := bytes.IndexByte(b[h.scan:], '\n')
		if i < 0 {
			h.scan = len(b)
			return false, nil
		}
		end := h.scan + i
		if end == h.pos || b[end-1] != '\r' {
			return false, errBareLF
		}
		line := b[h.pos : end-1]
		h.pos, h.scan = end+1, end+1
		switch {
		case h.line == 0:
			h.head = len(line)
			if err = start(h, line); err == errEmptyLine && h.pos == len("\r\n") {
				continue // RFC 9112 section 2.2: a relic of old clients
			}
		case len(line) == 0:
			return true, nil
		default:
			err = h.addField(line)
		}
		if err != nil {
			return false, err
		}
		h.line++
	}
}

// addField parses one field line and what it says of framing and connection.
func (h *Head) addField(line []byte) *fault.Error {
	if len(h.Fields) == maxFields {
		return errManyFields
	}
	f, err := parseField(line)
	if err != nil {
		return err
	}
	f.ID = identify(f.Name)
	h.Fields = append(h.Fields, f)
	if f.ID != Other {
		return h.note(f)
	}
	return nil
}

// parseField cuts a line into name and value (RFC 9112 section 5). White space
// before the colon and folded lines are refused.
func parseField(line []byte) (Field, *fault.Error) {
	i := 0
	for i < len(line) && class[line[i]]&isToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return Field{}, errFieldLine
	}
	value := trim(line[i+1:])
	if !all(value, isValue) {
		return Field{}, errFieldValue
	}
	return Field{Name: line[:i], Value: value}, nil
}

// note takes in a field that the engine understands.
func (h *Head) note(f Field) *fault.Error {
	again := h.Has(f.ID)
	h.seen |= 1 << f.ID
	if h.Status != 0 && (f.ID == Host || f.ID == Expect) {
		return nil // they mean nothing in an answer
	}
	switch f.ID {
	case ContentLength:
		if again {
			return errTwoLengths
		}
		var ok bool
		if h.Length, ok = parseLength(f.Value); !ok {
			return errLength
		}
	case TransferEncoding:
		if again || !fold(f.Value, "chunked") {
			return errCoding
		}
		h.Chunked = true
	case Host:
		if again || !all(f.Value, isHost) || !isAuthority(f.Value) {
			return errHost
		}
	case Expect:
		if !fold(f.Value, "100-continue") {
			return errExpect
		}
		h.Expect = true
	case ProxyAuthorization:
		if again { // RFC 9110 section 11.7.2: it is one value
			return errTwoCredentials
		}
	case Connection:
		return h.addOptions(f.Value)
	}
	return nil
}

// parseLength reads a Content-Length: digits and nothing else, up to 18 of them
// (RFC 9110 section 8.6).
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return -1, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// addOptions takes in one Connection line. Options that would take a framing or
// routing field out of the head are refused: removing those changes what the
// message means.
func (h *Head) addOptions(v []byte) *fault.Error {
	for len(v) > 0 {
		var o []byte
		if i := bytes.IndexByte(v, ','); i >= 0 {
			o, v = trim(v[:i]), v[i+1:]
		} else {
			o, v = trim(v), nil
		}
		switch {
		case len(o) == 0: // an empty list element, RFC 9110 section 5.6.1.2
		case !all(o, isToken):
			return errOption
		case fold(o, "close"):
			h.Close = true
		case fold(o, "keep-alive"):
			// which it is anyway
		case fold(o, "upgrade"):
			h.upgrade = true
		case fold(o, "content-length"), fold(o, "transfer-encoding"), fold(o, "host"):
			return errOption
		case len(h.options) == maxOptions:
			return errOption
		default:
			h.dropExpect = h.dropExpect || fold(o, "expect")
			h.options = append(h.options, o)
		}
	}
	return nil
}

// finish draws the conclusions that need the whole head.
func (h *Head) finish() *fault.Error {
	if h.Chunked && (h.Length >= 0 || h.Minor == 0) {
		return errTwoFramings // RFC 9112 section 6.1
	}
	h.Expect = h.Expect && !h.dropExpect
	h.Upgrade = h.upgrade && h.Has(Upgrade) && h.Minor == 1
	// RFC 9112 appendix C.2.2: a proxy keeps no persistent connection with an
	// HTTP/1.0 peer, whatever its Connection field says.
	h.Close = h.Close || h.Minor == 0
	return nil
}

// identify finds the fields that the engine understands.
func identify(name []byte) Name {
	switch len(name) {
	case 2:
		return either(name, "te", TE)
	case 3:
		return either(name, "via", Via)
	case 4:
		return either(name, "host", Host)
	case 6:
		return either(name, "expect", Expect)
	case 7:
		if name[0]|0x20 == 'u' {
			return either(name, "upgrade", Upgrade)
		}
		return either(name, "trailer", Trailer)
	case 10:
		return either(name, "connection", Connection)
	case 12:
		return either(name, "max-forwards", MaxForwards)
	case 14:
		return either(name, "content-length", ContentLength)
	case 17:
		return either(name, "transfer-encoding", TransferEncoding)
	case 19:
		return either(name, "proxy-authorization", ProxyAuthorization)
	}
	return Other
}

func either(name []byte, lower string, n Name) Name {
	if fold(name, lower) {
		return n
	}
	return Other
}
