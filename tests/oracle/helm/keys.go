package main

import (
	"bytes"
	"crypto"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// describeKeys describes what Go reads in a text of PEM blocks and of passwords with their bcrypt hashes. It leaves out what is
// random: two texts that say the same about different keys have the same description. Each certificate must be signed by one in
// the text, and each key must belong to the certificate before it.
func describeKeys(text string) (string, error) {
	var out strings.Builder
	var certificates []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			key, err := parseKey(block)
			if err != nil {
				return "", err
			}
			if len(certificates) > 0 {
				if err := belongs(key, certificates[len(certificates)-1]); err != nil {
					return "", err
				}
			}
			fmt.Fprintf(&out, "%s: %s\n", block.Type, kindOf(key))
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		certificates = append(certificates, certificate)
		signer := -1
		for index, other := range certificates {
			if bytes.Equal(other.RawSubject, certificate.RawIssuer) &&
				other.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature) == nil {
				signer = index
			}
		}
		if signer < 0 {
			return "", errors.New("no certificate of the text has signed " + certificate.Subject.String())
		}
		fmt.Fprintf(&out, "CERTIFICATE: signed by %d\n", signer)
		out.WriteString(contents(certificate, certificates[signer]))
	}
	for _, line := range strings.Split(string(rest), "\n") {
		if password, hash, found := strings.Cut(line, "$"); found {
			hash = "$" + hash
			if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil {
				return "", err
			}
			cost, err := bcrypt.Cost([]byte(hash))
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "HASH: %s %d\n", password, cost)
		}
	}
	return out.String(), nil
}

// contents describes a certificate, except for its numbers.
func contents(one, signer *x509.Certificate) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  version %d, %s, %s\n", one.Version, one.SignatureAlgorithm, kindOf(one.PublicKey))
	fmt.Fprintf(&out, "  subject %x issuer %x\n", one.RawSubject, one.RawIssuer)
	fmt.Fprintf(&out, "  valid for %s\n", one.NotAfter.Sub(one.NotBefore).Round(time.Minute))
	fmt.Fprintf(&out, "  names %q addresses %v\n", one.DNSNames, one.IPAddresses)
	for _, extension := range one.Extensions {
		value := fmt.Sprintf("%x", extension.Value)
		switch {
		case bytes.Contains(extension.Value, one.SubjectKeyId) && len(one.SubjectKeyId) > 0:
			value = "the name of its key"
		case bytes.Contains(extension.Value, signer.SubjectKeyId) && len(signer.SubjectKeyId) > 0:
			value = "the name of its signer's key"
		}
		fmt.Fprintf(&out, "  extension %s critical %t: %s\n", extension.Id, extension.Critical, value)
	}
	fmt.Fprintf(&out, "  serial number of up to 16 bytes: %t\n", len(one.SerialNumber.Bytes()) <= 16)
	return out.String()
}

// parseKey reads a private key in one of the forms that sprig writes.
func parseKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "DSA PRIVATE KEY":
		var key struct {
			Version       int
			P, Q, G, Y, X *big.Int
		}
		if _, err := asn1.Unmarshal(block.Bytes, &key); err != nil {
			return nil, err
		}
		parameters := dsa.Parameters{P: key.P, Q: key.Q, G: key.G}
		public := dsa.PublicKey{Parameters: parameters, Y: key.Y}
		return &dsa.PrivateKey{PublicKey: public, X: key.X}, checkDSA(&public, key.X)
	default:
		return nil, errors.New("unknown block " + block.Type)
	}
}

// checkDSA performs the checks that Go omits when it reads a key.
func checkDSA(key *dsa.PublicKey, x *big.Int) error {
	one := big.NewInt(1)
	power := func(base, exponent *big.Int) *big.Int { return new(big.Int).Exp(base, exponent, key.P) }
	switch {
	case !key.P.ProbablyPrime(20) || !key.Q.ProbablyPrime(20):
		return errors.New("a number that should be prime is not")
	case power(key.G, key.Q).Cmp(one) != 0 || key.G.Cmp(one) <= 0:
		return errors.New("the generator has another order")
	case power(key.G, x).Cmp(key.Y) != 0 || x.Cmp(key.Q) >= 0:
		return errors.New("the public key is not that of the private one")
	}
	return nil
}

// belongs checks that a certificate belongs to a key.
func belongs(key any, certificate *x509.Certificate) error {
	signer, is := key.(crypto.Signer)
	if !is {
		return errors.New("a certificate's key must sign")
	}
	public, is := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !is || !public.Equal(certificate.PublicKey) {
		return errors.New("the key is not that of " + certificate.Subject.String())
	}
	return nil
}

// kindOf returns the algorithm and the size of a key.
func kindOf(key any) string {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return kindOf(&key.PublicKey)
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d with %d", key.N.BitLen(), key.E)
	case *ecdsa.PrivateKey:
		return kindOf(&key.PublicKey)
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PrivateKey, ed25519.PublicKey:
		return "Ed25519"
	case *dsa.PrivateKey:
		return fmt.Sprintf("DSA %d and %d", key.P.BitLen(), key.Q.BitLen())
	default:
		return fmt.Sprintf("%T", key)
	}
}
