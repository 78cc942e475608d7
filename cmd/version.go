package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker for a release.
var version = "dev"

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print version, commit and Go version",
		Before: noArguments,
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "viaduct %s %s %s\n", version, commit(), runtime.Version())
			return err
		},
	}
}

// commit is the revision that the program was built from, if Go knows it.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
