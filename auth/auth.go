// Package auth says who asks: it reads the credentials of a request, has them
// verified, and remembers what was verified, so that a password hash, which is
// slow on purpose, hardly ever runs. What somebody may do is none of its
// business.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
)

// What Admit answers, for errors.Is. A client is challenged for the first
// three.
var (
	ErrMissing     = errors.New("no credentials")                                   // or those of a scheme that is not served
	ErrMalformed   = errors.New("malformed credentials")                            // RFC 7617 section 2
	ErrWrong       = errors.New("wrong user or password")                           // which of them is nobody's business
	ErrThrottled   = errors.New("too many wrong credentials")                       // of this client: RetryAfter
	ErrBusy        = errors.New("too many credentials wait to be verified")         // of all clients
	ErrUnavailable = errors.New("whether the credentials are right cannot be told") // with its cause, for the operator
)

// errScheme is for credentials that are not Basic: the challenge tells what is.
var errScheme = fmt.Errorf("%w: another scheme than Basic", ErrMissing)

// Identity is who somebody is. It is immutable and shared between requests.
type Identity struct {
	User   string   // never empty
	Groups []string // sorted, without duplicates

	proof   proof // what it was verified against
	lasting bool  // as long as Still says so, it need not be verified again
}

// proof stands for what an identity was verified against, and tells nothing of
// it.
type proof [sha256.Size]byte

// Credentials are what a client shows. Its strings may be kept.
type Credentials struct {
	Scheme   string // lower-case: basic
	User     string // without control characters, UTF-8; may be empty
	Password string // without control characters
	Client   netip.Addr
}

// Verifier knows who is who. Its methods are called from many goroutines.
type Verifier interface {
	// Verify says whose credentials they are, or ErrWrong. Any other error means
	// that it could not be told.
	Verify(ctx context.Context, c *Credentials) (*Identity, error)
	// Still says whether what was verified before still holds, and returns the
	// identity with its groups of today. It waits for nothing and hashes nothing.
	Still(id *Identity) (*Identity, bool)
}
