package hop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"

	"viaduct/fault"
)

// A Tag is the pseudonym of one proxy in the Via that it sends to parents, which
// tells a loop from a chain (RFC 9110 section 7.6.3). It says that a viaduct stands
// there and which of many, and nothing more. Zero is none.
type Tag string

// mostTags bounds the proxies of a chain, and so what a client can make us send on.
const mostTags = 16

// tagLen is the length of every tag: the pseudonym, "-", and 16 hexadecimal digits.
const tagLen = len(pseudonym) + 1 + 16

// NewTag makes one of a random number.
func NewTag(random uint64) Tag {
	return Tag(pseudonym + "-" + hex.EncodeToString(binary.BigEndian.AppendUint64(nil, random)))
}

// isTag tells whether an element of a Via is one of the tags.
func isTag(element []byte) bool {
	_, by, _ := bytes.Cut(element, []byte{' '})
	if len(by) != tagLen || !bytes.HasPrefix(by, []byte(pseudonym+"-")) {
		return false
	}
	for _, c := range by[len(pseudonym)+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Trail is the proxies with tags that a message has come through, the first one
// first. The zero value is empty.
type Trail struct {
	tags [mostTags]Tag
	n    int
	over bool // there were more
}

// Pass takes in the value of a Via field.
func (t *Trail) Pass(via []byte) {
	for element := range bytes.SplitSeq(via, []byte{','}) {
		element = bytes.TrimSpace(element)
		if !isTag(element) {
			continue
		}
		if t.n == mostTags {
			t.over = true
			return
		}
		_, by, _ := bytes.Cut(element, []byte{' '})
		t.tags[t.n] = Tag(by)
		t.n++
	}
}

var (
	errLoop = fault.New(fault.LoopDetected, errors.New("this proxy has passed the request on already"))
	errLong = fault.New(fault.LoopDetected, errors.New("the request has come through too many proxies"))
)

// Check says whether a proxy with this tag may pass the message on. The error is a
// *fault.Error.
func (t *Trail) Check(own Tag) error {
	if slices.Contains(t.tags[:t.n], own) {
		return errLoop
	}
	if t.over || t.n == mostTags {
		return errLong
	}
	return nil
}

// AppendVia appends the value of a Via field for a parent: the trail, and the own tag
// of a proxy that has got the message by HTTP/1.minor.
func (t *Trail) AppendVia(dst []byte, minor byte, own Tag) []byte {
	for _, tag := range t.tags[:t.n] {
		dst = append(append(append(dst, "1.1 "...), tag...), ", "...)
	}
	dst = append(dst, "1."...)
	return append(append(dst, '0'+minor%10, ' '), own...)
}

// AppendUntagged appends the value of a Via field without the tags: the last viaduct
// of a chain takes them out.
func AppendUntagged(dst, via []byte) []byte {
	start := len(dst)
	for element := range bytes.SplitSeq(via, []byte{','}) {
		element = bytes.TrimSpace(element)
		if len(element) == 0 || isTag(element) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
		dst = append(dst, element...)
	}
	return dst
}
