package cmd

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"viaduct/config"
	"viaduct/snapshot"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "validate a configuration file",
		UsageText: "viaduct check -c FILE [--print]\nviaduct check --schema",
		Description: "Every problem is told as FILE:LINE:COL: message, and the exit code is 1. Users, groups\n" +
			"and lists that it names are read. Nothing else is opened and nothing sent: addresses\n" +
			"in use, for one, are found by run.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.BoolFlag{Name: "print", Usage: "show the effective configuration, with all defaults", DisableDefaultText: true},
			&cli.BoolFlag{Name: "schema", Usage: "print the JSON Schema of the file, for editors; needs no file", DisableDefaultText: true},
		},
		Before: noArguments,
		Action: check,
	}
}

func check(c *cli.Context) error {
	if c.Bool("schema") {
		if c.Bool("print") || c.IsSet("config") {
			return usageError("--schema stands alone: it prints what is the same for every file")
		}
		_, err := c.App.Writer.Write(config.Schema())
		return err
	}
	file, err := configFile(c)
	if err != nil {
		return err
	}
	conf, err := config.Load(file)
	if err != nil {
		return err
	}
	if c.Bool("print") {
		return conf.Print(c.App.Writer)
	}
	remarks, err := snapshot.Verify(conf)
	if err != nil {
		if _, unread := errors.AsType[*fs.PathError](err); unread {
			return fmt.Errorf("%s: %w", file, err)
		}
		return usageError(fmt.Sprintf("%s: %v", file, err))
	}
	for _, remark := range remarks {
		fmt.Fprintf(c.App.Writer, "%s: note: %s\n", file, remark)
	}
	listeners := 0
	for i := range conf.Forward {
		listeners += len(conf.Forward[i].Listen)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: ok: %s, %s\n", file, count(len(conf.Forward), "forward proxy", "forward proxies"), count(listeners, "listener", "listeners"))
	return err
}

func count(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
