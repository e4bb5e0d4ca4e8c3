package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// A delivery is one request that the sink received, with the sink's answer. A body that is not UTF-8 is in bytes.
type delivery struct {
	At      time.Time           `json:"at"`
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Query   string              `json:"query"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body"`
	Bytes   []byte              `json:"bytes,omitempty"`
	Status  int                 `json:"status"`
}

// sink records every request as a line of JSON before it answers. The URL determines the answer:
//
//	/sink/NAME                     200
//	/sink/NAME?status=500          always 500
//	/sink/NAME?fail=2              503 to the first two requests of this URL, then 200
//	/sink/NAME?fail=2&status=429   429 to the first two; retry-after=SECONDS adds that header
type sink struct {
	mu       sync.Mutex
	file     *os.File
	received map[string]int // by path and query
}

func newSink(path string) (*sink, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &sink{file: file, received: map[string]int{}}, err
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	record := delivery{
		At: time.Now().UTC(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Headers: r.Header.Clone(), Status: http.StatusOK,
	}
	record.Headers["Host"] = []string{r.Host}
	if utf8.Valid(body) {
		record.Body = string(body)
	} else {
		record.Bytes = body
	}
	if err := s.record(r, &record); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if after := r.URL.Query().Get("retry-after"); after != "" && record.Status != http.StatusOK {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(record.Status)
	_, _ = io.WriteString(w, http.StatusText(record.Status)+"\n")
}

// record chooses the answer and writes the line. One lock covers both, so that lines stay whole and counts in order.
func (s *sink) record(r *http.Request, d *delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.received[r.URL.RequestURI()]
	s.received[r.URL.RequestURI()] = seen + 1
	query := r.URL.Query()
	status, _ := strconv.Atoi(query.Get("status"))
	fail, _ := strconv.Atoi(query.Get("fail"))
	switch {
	case query.Has("fail") && seen >= fail:
		d.Status = http.StatusOK
	case status >= 200 && status <= 599:
		d.Status = status
	case query.Has("fail"):
		d.Status = http.StatusServiceUnavailable
	}
	return json.NewEncoder(s.file).Encode(d)
}
