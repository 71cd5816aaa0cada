"""The pins of requirements.txt by section. Standard library, any Python."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = os.path.join(ROOT, 'requirements.txt')
NUMPY1 = 'run-numpy1'  # section of what stands in for [run] beside a NumPy 1


def read_rows(path=REQUIREMENTS):
    """Return (section, requirement, reason) of each pin; its reason is the comment on its line."""
    rows, section = [], ''
    with open(path, encoding='utf-8') as file:
        for line in file:
            heading = re.match(r'# \[([\w-]+)\]$', line.strip())
            requirement, _, reason = (part.strip() for part in line.partition('#'))
            if heading:
                section = heading.group(1)
            elif requirement:
                rows.append((section, requirement, reason))
    return rows


def pins(sections):
    """Return the requirements of sections; [run-numpy1] among them replaces its like."""
    rows = read_rows()
    known = {section for section, _, _ in rows}
    for section in sections:
        if section not in known:
            raise ValueError(
                'requirements.txt has no section [{}], it has {}'.format(
                    section, ', '.join(sorted(known))
                )
            )
    wanted = [row for section, row, _ in rows if section in sections and section != NUMPY1]
    replacing = [row for section, row, _ in rows if section == NUMPY1 and NUMPY1 in sections]
    replaced = {project(row) for row in replacing}
    present = {project(row) for row in wanted}
    return [row for row in wanted if project(row) not in replaced] + [
        row for row in replacing if project(row) in present
    ]


def project(requirement):
    """Return the name of the project that a requirement is about."""
    return re.match(r'[\w.-]+', requirement).group(0).lower()
