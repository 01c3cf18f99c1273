"""Enrolment: join tokens, and certificates for hosts that show one."""
