package main

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// credentials are what the registry, git and charts require. The zero value lets everyone in.
type credentials struct {
	user, token string
	// newUser is a file that may appear at any time. From then on, the user:password in it is required.
	newUser string
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// open reports whether no credentials are required.
func (c credentials) open() bool { return c.user == "" && c.token == "" }

func (c credentials) basic(r *http.Request) bool {
	user := c.user
	if replaced, err := os.ReadFile(c.newUser); err == nil {
		user = string(replaced)
	}
	name, password, _ := strings.Cut(user, ":")
	gotName, gotPassword, ok := r.BasicAuth()
	return ok && c.user != "" && same(gotName, name) && same(gotPassword, password)
}

func (c credentials) bearer(r *http.Request) bool {
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && c.token != "" && same(got, c.token)
}

func (c credentials) forFiles(realm string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.open() || c.basic(r) || c.bearer(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", realm))
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	})
}

// forRegistry challenges clients as the distribution spec says: with a bearer challenge that names the token server, or with a
// basic one if there is no token.
func (c credentials) forRegistry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.open() || (c.token != "" && c.bearer(r)) || (c.token == "" && c.basic(r)) {
			next.ServeHTTP(w, r)
			return
		}
		challenge := `Basic realm="registry"`
		if c.token != "" {
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			challenge = fmt.Sprintf(`Bearer realm="%s://%s/token",service="testservers"`, scheme, r.Host)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	})
}

// tokens is the registry's token server. It issues the token to the user, or to anyone if there is no user.
func (c credentials) tokens() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case c.token == "":
			http.NotFound(w, r)
		case c.user == "" || c.basic(r):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"token":%q,"access_token":%q,"expires_in":300}`, c.token, c.token)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		}
	})
}
