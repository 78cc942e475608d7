package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	longName     = 255
	longPassword = 72 // bcrypt looks at no more
)

// CheckUser says what is wrong with the name of a user, if anything is.
func CheckUser(name string) error {
	switch {
	case name == "":
		return errors.New("the user has no name")
	case !utf8.ValidString(name):
		return errors.New("the name of the user is not UTF-8")
	case !isText(name):
		return fmt.Errorf("user %q has a control character in its name", name)
	case strings.Contains(name, ":"):
		return fmt.Errorf("user %q has a colon in its name, which in Basic authentication ends it", name)
	case strings.Trim(name, blank) != name:
		return fmt.Errorf("user %q has a space at an end of its name", name)
	case name[0] == '#', strings.HasPrefix(name, byteOrderMark):
		return fmt.Errorf("user %q would be a comment, or no line at all: choose another beginning", name)
	case len(name) > longName:
		return fmt.Errorf("the name of the user has %d bytes, %d are the most", len(name), longName)
	}
	return nil
}

// checkPassword says what is wrong with a password, if anything is.
func checkPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > longPassword:
		return fmt.Errorf("the password has %d bytes, but bcrypt looks at %d only: choose a shorter one", len(password), longPassword)
	case !utf8.ValidString(password):
		return errors.New("the password is not UTF-8, as clients send it")
	case strings.ContainsFunc(password, isControl):
		return errors.New("the password has a control character, which Basic authentication cannot carry")
	}
	return nil
}

// SetPassword returns an htpasswd file in which the user has the password, by
// bcrypt: the user's line changed, or one added. The rest of the file stays as
// it is, whatever it is.
func SetPassword(file []byte, user, password string) ([]byte, error) {
	if err := CheckUser(user); err != nil {
		return nil, err
	}
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hash the password: %w", err)
	}
	return place(file, user, string(hash))
}

// place puts the hash of a user into a file.
func place(file []byte, user, hash string) ([]byte, error) {
	from, to, err := locate(file, user)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if from < 0 {
		out.Write(file)
		if len(bytes.TrimPrefix(file, []byte(byteOrderMark))) > 0 && !bytes.HasSuffix(file, []byte("\n")) {
			out.WriteByte('\n')
		}
		out.WriteString(user + ":" + hash + "\n")
		return out.Bytes(), nil
	}
	out.Write(file[:from])
	out.WriteString(hash)
	out.Write(file[to:])
	return out.Bytes(), nil
}

// locate finds where the hash of a user stands in a file; from is -1 for one who
// is not there.
func locate(file []byte, user string) (from, to int, err error) {
	from, first := -1, 0
	for n, line := range lines(file) {
		name, _, found := strings.Cut(line, ":")
		if !found || name != user {
			continue
		}
		if from >= 0 {
			return 0, 0, fmt.Errorf("user %q is on lines %d and %d: take one of them out", user, first, n)
		}
		first = n
		from, to = span(file, n, len(name)+1)
	}
	return from, to, nil
}

// span is where the hash on line n stands, behind the first skip bytes of the
// text on that line.
func span(file []byte, n, skip int) (from, to int) {
	for range n - 1 {
		from += bytes.IndexByte(file[from:], '\n') + 1
	}
	if from == 0 && bytes.HasPrefix(file, []byte(byteOrderMark)) {
		from = len(byteOrderMark)
	}
	line, _, _ := bytes.Cut(file[from:], []byte("\n"))
	from += len(line) - len(bytes.TrimLeft(line, blank)) + skip
	rest, _, _ := bytes.Cut(file[from:], []byte("\n"))
	rest, _, _ = bytes.Cut(rest, []byte(":"))
	return from, from + len(bytes.TrimRight(rest, blank))
}
