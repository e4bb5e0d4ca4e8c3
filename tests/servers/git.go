package main

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
)

// newGit serves the bare repositories below repos with git's own CGI program, which implements the smart protocol in versions 0
// to 2, and the dumb one. Every client that is let in may push.
func newGit(repos string) (http.Handler, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w (install git)", err)
	}
	program := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := &cgi.Handler{
			Path: program,
			Root: "/git",
			Env: []string{
				"GIT_PROJECT_ROOT=" + repos, "GIT_HTTP_EXPORT_ALL=1",
				"REMOTE_USER=test", // git-http-backend allows pushes to who is authenticated only
				"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
			},
		}
		handler.ServeHTTP(w, r)
	}), nil
}
