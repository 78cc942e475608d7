package accesslog

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Open opens what lines are to go to: a path, "-" for standard output, "off" for
// nothing. The file, if it is one, is for the caller to close. A pipe that nobody
// reads is an error, instead of a wait that nobody can end.
func Open(path string) (out io.Writer, file *os.File, err error) {
	switch path {
	case "off", "":
		return nil, nil, nil
	case "-":
		return os.Stdout, nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open access log: %w", err)
	}
	return f, f, nil
}
