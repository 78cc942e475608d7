package admin

import (
	"fmt"
	"os"
	"strings"
)

// ReadToken reads a file that holds nothing but a token, at the end of a line
// perhaps. Without a path there is none.
func ReadToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no ordinary file", path) // another kind may never end
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("admin token: %s must hold one word, the token", path)
	}
	return token, nil
}
